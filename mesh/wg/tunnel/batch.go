package tunnel

import (
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

const (
	// maxSegments is the most packets that the kernel hands over as one (IFLA_GSO_MAX_SEGS): fewer than the batch of wireguard-go has
	// room for behind maxWaiting others. 64 KiB of TCP are fewer at any usual MTU.
	maxSegments = 64
	// maxWaiting is after how many packets no more are looked for. The peer's kernel hands them on as a burst, and a receiver's
	// socket buffer has room for a few hundred small ones: twice as many, and bursts began to overrun it.
	maxWaiting = 16
)

// batched is a TUN whose Read returns the packets that wait, and not the first alone. wireguard-go's pipeline costs about the same
// for some packets as for one: each stage is woken once, and what goes to one peer leaves by one system call (UDP_SEGMENT).
type batched struct {
	tun.Device
	raw syscall.RawConn
}

// newBatched also sees to it that what one read of the kernel may bring always fits behind what is there.
func newBatched(link tun.Device, name string) (*batched, error) {
	if err := limitSegments(name); err != nil {
		return nil, err
	}
	raw, err := link.File().SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reaching the file of link %s: %w", name, err)
	}
	return &batched{Device: link, raw: raw}, nil
}

func limitSegments(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("looking up link %s: %w", name, err)
	}
	if err := netlink.LinkSetGSOMaxSegs(link, maxSegments); err != nil {
		return fmt.Errorf("limiting the segments of link %s: %w", name, err)
	}
	return nil
}

// Read is that of tun.Device: it waits for the first packet and for no other.
func (b *batched) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	n, err = b.Device.Read(bufs, sizes, offset)
	for err == nil && n < maxWaiting && len(bufs)-n >= maxSegments && b.waiting() {
		var more int
		more, err = b.Device.Read(bufs[n:], sizes[n:], offset)
		n += more
	}
	for i := range n {
		fillChecksum(bufs[i][offset : offset+sizes[i]])
	}
	return n, err
}

// waiting says whether a read would return at once.
func (b *batched) waiting() bool {
	var ready int
	err := b.raw.Control(func(fd uintptr) {
		// A poll that fails, or is interrupted, finds nothing: the next Read waits.
		ready, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) // #nosec G115 -- a descriptor
	})
	return err == nil && ready > 0
}
