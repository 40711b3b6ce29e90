package tunnel

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// crossingTime is how long a tunnel holds a call back at most. The round trips between two nodes are shorter.
const crossingTime = 500 * time.Millisecond

// crossing is a Bind for nodes that call each other within one round trip. WireGuard has each of them answer the other's initiation and let go
// of its own for that, so that neither has a use for the answer, and both try again after 5 s (Rekey-Timeout, section 6.1 of its paper). Here the
// initiation with the lower ephemeral key is the one that counts, as both can see: its sender holds the other one back until it has the answer, which
// makes the other one needless, or for a while where there is none. A forged initiation is held back too: it can take the place of one that is
// held, which matters only where ours was lost, and never stops ours.
type crossing struct {
	conn.Bind
	patience time.Duration // how long it holds one back at most
	late     chan packet

	mu     sync.Mutex
	closed chan struct{}
	calls  map[string]*call // that were sent less than patience ago, by the endpoint
}

// call is an initiation that was sent.
type call struct {
	index     []byte // by which its answer is known
	ephemeral []byte
	held      *packet // what crossed it
	timer     *time.Timer
}

type packet struct {
	message []byte
	from    conn.Endpoint
}

func newCrossing(bind conn.Bind, patience time.Duration) *crossing {
	return &crossing{Bind: bind, patience: patience, late: make(chan packet), calls: map[string]*call{}}
}

// Open is that of conn.Bind, with one function more, by which comes what was held back.
func (c *crossing) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	functions, port, err := c.Bind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	closed := make(chan struct{})
	c.mu.Lock()
	c.closed = closed
	c.mu.Unlock()
	for i, f := range functions {
		functions[i] = c.receive(f)
	}
	return append(functions, c.receiveLate(closed)), port, nil
}

// Close is that of conn.Bind.
func (c *crossing) Close() error {
	c.mu.Lock()
	if c.closed != nil {
		close(c.closed)
		c.closed = nil
	}
	c.mu.Unlock()
	return c.Bind.Close()
}

// Send is that of conn.Bind.
func (c *crossing) Send(buffers [][]byte, to conn.Endpoint) error {
	for _, b := range buffers {
		if isMessage(b, device.MessageInitiationType, device.MessageInitiationSize) {
			c.sent(b, to.DstToString())
		}
	}
	return c.Bind.Send(buffers, to)
}

func (c *crossing) receive(receive conn.ReceiveFunc) conn.ReceiveFunc {
	return func(buffers [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n, err := receive(buffers, sizes, from)
		for i := range n {
			switch b := buffers[i][:sizes[i]]; {
			case isMessage(b, device.MessageInitiationType, device.MessageInitiationSize):
				if c.holds(b, from[i]) {
					sizes[i] = 0 // which is ignored
				}
			case isMessage(b, device.MessageResponseType, device.MessageResponseSize):
				c.answered(b, from[i].DstToString())
			}
		}
		return n, err
	}
}

func (c *crossing) receiveLate(closed <-chan struct{}) conn.ReceiveFunc {
	return func(buffers [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		select {
		case p := <-c.late:
			sizes[0], from[0] = copy(buffers[0], p.message), p.from
			return 1, nil
		case <-closed:
			return 0, net.ErrClosed
		}
	}
}

func (c *crossing) sent(initiation []byte, to string) {
	own := &call{index: bytes.Clone(senderOf(initiation)), ephemeral: bytes.Clone(ephemeralOf(initiation))}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[to] = own
	own.timer = time.AfterFunc(c.patience, func() { c.unanswered(own, to) })
}

// holds says whether an initiation is held back, for a while or for ever.
func (c *crossing) holds(initiation []byte, from conn.Endpoint) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.calls[from.DstToString()]
	if own == nil || bytes.Compare(own.ephemeral, ephemeralOf(initiation)) > 0 {
		return false
	}
	own.held = &packet{message: bytes.Clone(initiation), from: from}
	return true
}

func (c *crossing) answered(response []byte, from string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own := c.calls[from]; own != nil && bytes.Equal(own.index, receiverOf(response)) {
		own.timer.Stop()
		delete(c.calls, from)
	}
}

func (c *crossing) unanswered(own *call, to string) {
	c.mu.Lock()
	held, closed := own.held, c.closed
	if c.calls[to] == own {
		delete(c.calls, to)
	}
	c.mu.Unlock()
	if held == nil || closed == nil {
		return
	}
	select {
	case c.late <- *held:
	case <-closed:
	}
}

// isMessage says whether b is one of WireGuard's messages of a kind (section 5.4 of its paper).
func isMessage(b []byte, kind uint32, size int) bool {
	return len(b) == size && binary.LittleEndian.Uint32(b) == kind
}

func senderOf(initiation []byte) []byte    { return initiation[4:8] }
func ephemeralOf(initiation []byte) []byte { return initiation[8:40] }
func receiverOf(response []byte) []byte    { return response[8:12] }
