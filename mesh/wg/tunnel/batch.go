package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
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
// for some packets as for one: each stage is woken once, and what goes to one peer leaves by one system call (UDP_SEGMENT). Its Write gathers the
// segments of a stream from where they are; wireguard-go's TUN would compare their checksums and copy them together.
type batched struct {
	tun.Device
	raw syscall.RawConn
	in  [virtioHeader + maxIP]byte // of the one that reads

	mu  sync.Mutex // guards out
	out coalesced
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
	b := &batched{Device: link, raw: raw}
	if err := raw.Control(func(fd uintptr) {
		// As wireguard-go asked for: whether UDP's are among it, which the kernel joins and parts since 6.2, it tells nobody.
		const all = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_USO4 | unix.TUN_F_USO6
		b.out.datagrams = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, all) == nil // #nosec G115 -- a descriptor
	}); err != nil {
		return nil, fmt.Errorf("reaching the file of link %s: %w", name, err)
	}
	return b, nil
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

// virtio says whether packets have a virtio_net_hdr: without one each is by itself.
func (b *batched) virtio() bool { return b.BatchSize() > 1 }

// Read is that of tun.Device: it waits for the first packet and for no other.
func (b *batched) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	if !b.virtio() {
		return b.Device.Read(bufs, sizes, offset)
	}
	waited := b.raw.Read(func(fd uintptr) (done bool) {
		for err == nil && (n == 0 || n < maxWaiting && len(bufs)-n >= maxSegments) {
			var length, more int
			length, err = unix.Read(int(fd), b.in[:]) // #nosec G115 -- a descriptor
			if errors.Is(err, unix.EAGAIN) {
				err = nil
				return n > 0
			}
			if err == nil {
				more, err = spread(b.in[:length], bufs[n:], sizes[n:], offset)
				n += more
			}
		}
		return true
	})
	return n, cmp.Or(waited, asClosed(err))
}

// Write is that of tun.Device.
func (b *batched) Write(bufs [][]byte, offset int) (written int, err error) {
	if !b.virtio() || offset < virtioHeader {
		return b.Device.Write(bufs, offset)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.out.forget()
	b.out.gather(bufs, offset)
	for i := range b.out.larges {
		n, werr := b.write(b.out.larges[i].parts)
		written, err = written+n, errors.Join(err, werr)
	}
	return written, err
}

// write writes one packet.
func (b *batched) write(parts [][]byte) (n int, err error) {
	waited := b.raw.Write(func(fd uintptr) bool {
		n, err = unix.Writev(int(fd), parts) // #nosec G115 -- a descriptor
		return !errors.Is(err, unix.EAGAIN)
	})
	return n, cmp.Or(waited, asClosed(err))
}

// asClosed is an error as wireguard-go knows it.
func asClosed(err error) error {
	if errors.Is(err, unix.EBADFD) { // The link is gone.
		return os.ErrClosed
	}
	return err
}
