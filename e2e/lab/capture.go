package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/e2e/lab/wire"
)

// Capture sees every frame of the underlay from its beginning on, and judges it. It is to be begun before the first packet
// that matters, and proven by [Capture.Control].
type Capture struct {
	lab       *Lab
	inspector wire.Inspector
	tap       *tap
	done      chan struct{}

	mu      sync.Mutex // guards the rest
	names   map[int]string
	frames  []Frame // those kept
	kept    int     // how many of them are WireGuard's
	others  int     // how many of them are neither WireGuard's nor leaks
	counts  map[wire.Message]int
	clear   int // frames that are not WireGuard
	leaks   []Frame
	marks   [][]byte
	control map[string]bool // forms seen, by mark and form
	proven  bool
	idle    bool
	err     error
}

// Frame is one frame on the underlay.
type Frame struct {
	Time time.Time
	// From is the node that sent it, or "switch".
	From string
	Data []byte
	wire.Result
	line string
}

func (f Frame) String() string {
	return fmt.Sprintf("%s %-6s %s", f.Time.Format("15:04:05.000000"), f.From, f.line)
}

// How many frames with WireGuard messages, and how many of those that show nothing of the pods, are kept; they are only counted then.
// Leaks are all kept.
const (
	keptMessages = 20000
	keptOthers   = 50000
)

// Capture begins a capture. It ends with the lab or with Close.
func (l *Lab) Capture(ctx context.Context) (*Capture, error) {
	c := &Capture{
		lab:       l,
		inspector: wire.Inspector{Pods: l.options.PodCIDRs, Ports: []uint16{l.options.ListenPort}},
		done:      make(chan struct{}), names: map[int]string{}, counts: map[wire.Message]int{}, control: map[string]bool{},
	}
	err := l.Switch().Do(func() (err error) {
		c.tap, err = openTap()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("beginning a capture: %w", err)
	}
	go func() {
		defer close(c.done)
		if err := c.tap.read(c.take, c.setIdle(false), c.setIdle(true)); err != nil {
			c.mu.Lock()
			c.err = fmt.Errorf("capturing: %w", err)
			c.mu.Unlock()
		}
	}()
	l.closers.add(c)
	return c, ctx.Err()
}

// Close ends the capture. What it has seen stays.
func (c *Capture) Close() error {
	err := c.tap.file.Close()
	<-c.done
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (c *Capture) setIdle(idle bool) func() {
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.idle = idle
	}
}

// take judges one frame.
func (c *Capture) take(r received) {
	result := c.inspector.Inspect(r.frame)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isControl(r.frame, result) {
		return
	}
	clean, kept, most := len(result.Findings) == 0, &c.others, keptOthers
	if result.WireGuard != 0 {
		c.counts[result.WireGuard]++
		kept, most = &c.kept, keptMessages
	} else {
		c.clear++
	}
	if clean && *kept >= most {
		return
	}
	if clean {
		*kept++
	}
	f := Frame{Time: r.time, From: c.name(r.port), Data: bytes.Clone(r.frame), Result: result}
	c.frames = append(c.frames, f)
	if len(result.Findings) > 0 {
		c.leaks = append(c.leaks, f)
	}
}

// name is whose port it is. mu is held.
func (c *Capture) name(port int) string {
	if name, ok := c.names[port]; ok {
		return name
	}
	name := fmt.Sprintf("link %d", port)
	_ = c.lab.Switch().Do(func() error { // a port that is gone has a number only
		link, err := netlink.LinkByIndex(port)
		if err == nil {
			name = link.Attrs().Name
		}
		return err
	})
	if name == bridgeName {
		name = switchName
	}
	c.names[port] = name
	return name
}

// Leaks are the frames so far that show a pod's address in clear; control frames are left out. It is an error if the capture
// cannot be trusted: no control has proven it, the kernel had to drop frames, or reading failed.
func (c *Capture) Leaks(ctx context.Context) ([]Frame, error) {
	if err := c.drain(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := []error{c.err}
	dropped, err := c.tap.dropped()
	if dropped > 0 {
		errs = append(errs, fmt.Errorf("the capture is not whole: the kernel dropped %d frames", dropped))
	}
	if !c.proven {
		errs = append(errs, errors.New("the capture is not proven: no control frame was sent"))
	}
	return c.describe(c.leaks), errors.Join(append(errs, err)...)
}

// drain waits until everything that the switch has seen by now has been judged.
func (c *Capture) drain(ctx context.Context) error {
	for {
		waiting, err := c.tap.waiting()
		if err != nil {
			return fmt.Errorf("draining the capture: %w", err)
		}
		c.mu.Lock()
		idle := c.idle || c.err != nil
		c.mu.Unlock()
		if !waiting && idle {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("draining the capture: %w", context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// describe puts the text to frames; mu is held.
func (c *Capture) describe(frames []Frame) []Frame {
	frames = slices.Clone(frames)
	for i := range frames {
		frames[i].line = c.inspector.Line(frames[i].Data)
	}
	return frames
}

// Frames are the frames that were kept: all leaks, the first 20,000 of WireGuard's and the first 50,000 others. Control frames are
// left out.
func (c *Capture) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.describe(c.frames)
}

// WireGuardPackets is how many frames carried a WireGuard message of these types; of any type where none is given.
func (c *Capture) WireGuardPackets(types ...wire.Message) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := 0
	for m, n := range c.counts {
		if len(types) == 0 || slices.Contains(types, m) {
			sum += n
		}
	}
	return sum
}

// OtherPackets is how many frames carried no WireGuard message: neighbour discovery, the API server's traffic, leaks.
func (c *Capture) OtherPackets() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clear
}

// WritePcap writes the frames that were kept to a file that tcpdump and Wireshark read.
func (c *Capture) WritePcap(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the caller chose the file
	if err != nil {
		return fmt.Errorf("writing a capture: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writePcap(f)
}

func (c *Capture) writePcap(w io.Writer) error {
	const largest = 1 << 18
	p := pcapgo.NewWriterNanos(w)
	if err := p.WriteFileHeader(largest, layers.LinkTypeEthernet); err != nil {
		return fmt.Errorf("writing a capture: %w", err)
	}
	for _, f := range c.frames {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}
		if err := p.WritePacket(info, f.Data); err != nil {
			return fmt.Errorf("writing a capture: %w", err)
		}
	}
	return nil
}
