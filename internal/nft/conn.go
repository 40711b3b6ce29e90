package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// socketBuffer is the size of both buffers of the socket, in bytes. A transaction is one message: with the kernel's default
// a large one fails with EMSGSIZE, and what the kernel says of each part that is wrong with ENOBUFS.
const socketBuffer = 64 << 20

// errChanging says that others changed the ruleset each time we tried to read it.
var errChanging = errors.New("the ruleset keeps changing while it is read")

// Conn is one lasting netlink socket to nftables, in the network namespace of the thread that opened it. After a failed transaction it
// is opened anew, so all methods have to be called in that same namespace. It is not safe for concurrent use.
type Conn struct {
	// nft reads by raw.
	nft *nftables.Conn
	raw *netlink.Conn
	// batch encodes what send sends, and sent is what came of it. The library hands over what it has encoded by its tests' dial alone.
	batch *nftables.Conn
	sent  error
	// buffer is for what dump reads.
	buffer []byte
	// port is the socket's netlink port.
	port uint32
}

// Open opens the socket. It needs CAP_NET_ADMIN.
func Open() (*Conn, error) {
	c := new(Conn)
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

// Close closes the socket. What it wrote stays in the kernel.
func (c *Conn) Close() error {
	own.replace(c.port, 0)
	c.port = 0
	return c.nft.CloseLasting()
}

func (c *Conn) open() error {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(raw *netlink.Conn) error {
		c.raw = raw
		return errors.Join(raw.SetReadBuffer(socketBuffer), raw.SetWriteBuffer(socketBuffer))
	}))
	if err != nil {
		return fmt.Errorf("opening the nftables socket: %w", err)
	}
	port, err := portOf(c.raw)
	if err != nil {
		return errors.Join(fmt.Errorf("reading the nftables socket's port: %w", err), conn.CloseLasting())
	}
	batch, err := nftables.New(nftables.AsLasting(), nftables.WithTestDial(func(messages []netlink.Message) ([]netlink.Message, error) {
		if len(messages) > 0 { // Else the library wants to hear of what it thinks that it sent.
			c.sent = c.send(messages)
		}
		return nil, nil
	}))
	if err != nil {
		return errors.Join(fmt.Errorf("making an encoder of nftables' messages: %w", err), conn.CloseLasting())
	}
	c.nft, c.batch = conn, batch
	own.replace(c.port, port)
	c.port = port
	return nil
}

// transaction sends what fill puts into the batch: all of it is done, or nothing.
func (c *Conn) transaction(fill func(*nftables.Conn) error) error {
	c.sent = nil
	err := fill(c.batch)
	if err == nil {
		err = errors.Join(c.batch.Flush(), c.sent)
	}
	if err == nil {
		return nil
	}
	return c.afresh(err)
}

// send sends a batch that the library has encoded, its two ends among it, and returns the first error of the kernel's. The library has each of its
// messages acknowledged, and rules repeated besides, which to read takes longer than to send them all. The last acknowledgement says as much: the
// kernel has done them all before it says anything, and says what is wrong of each in their order.
func (c *Conn) send(batch []netlink.Message) error {
	last := len(batch) - 2
	for i := range batch {
		h := &batch[i].Header
		h.Sequence, h.PID = 0, 0 // the socket's, in place of the library's
		h.Flags &^= unix.NLM_F_ECHO
		if i != last {
			h.Flags &^= netlink.Acknowledge
		}
	}
	if _, err := c.raw.SendMessages(batch); err != nil {
		return err
	}
	_, err := c.raw.Receive()
	return err
}

// afresh opens the socket anew after an error: it may still hold answers that nobody read, and the library keeps what it could
// not encode.
func (c *Conn) afresh(err error) error {
	return errors.Join(err, c.nft.CloseLasting(), c.open())
}

// consistently calls read until nobody changed the ruleset meanwhile: a dump that was cut by a change looks complete.
func (c *Conn) consistently(read func() error) error {
	const tries = 10
	for range tries {
		before, err := c.Generation()
		if err != nil {
			return c.afresh(err)
		}
		readErr := read()
		if readErr != nil {
			readErr = c.afresh(readErr)
		}
		after, err := c.Generation()
		if err != nil {
			return c.afresh(errors.Join(readErr, err))
		}
		if before == after {
			return readErr
		}
	}
	return errChanging
}

// Generation is the number of the ruleset's generation: every transaction in the namespace, whoever made it, makes it another.
func (c *Conn) Generation() (uint32, error) {
	answer, err := c.raw.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, nfgenmsgLen),
	})
	if err != nil {
		return 0, fmt.Errorf("reading the ruleset's generation: %w", err)
	}
	for _, m := range answer {
		if id, ok := attribute(m, unix.NFTA_GEN_ID); ok && len(id) == 4 {
			return binary.BigEndian.Uint32(id), nil
		}
	}
	return 0, errors.New("reading the ruleset's generation: the answer holds none")
}

// nfgenmsgLen is the length of struct nfgenmsg, which stands before the attributes of every nftables message.
const nfgenmsgLen = 4

// attribute is the first attribute of that type of an nftables message.
func attribute(m netlink.Message, typ uint16) ([]byte, bool) {
	if len(m.Data) < nfgenmsgLen {
		return nil, false
	}
	d, err := netlink.NewAttributeDecoder(m.Data[nfgenmsgLen:])
	if err != nil {
		return nil, false
	}
	for d.Next() {
		if d.Type() == typ {
			return d.Bytes(), true
		}
	}
	return nil, false
}

// portOf is the netlink port of a socket.
func portOf(c *netlink.Conn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var port uint32
	var nameErr error
	err = raw.Control(func(fd uintptr) {
		var name unix.Sockaddr
		if name, nameErr = unix.Getsockname(int(fd)); nameErr != nil {
			return
		}
		if nl, ok := name.(*unix.SockaddrNetlink); ok {
			port = nl.Pid
		}
	})
	return port, errors.Join(err, nameErr)
}
