package lab

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// tap is a packet socket that sees every frame of the switch once, as it enters it: from a node by its port, from the
// switch itself by the bridge.
type tap struct {
	file  *os.File // non-blocking, with Go's poller
	drops uint64   // counted so far; the kernel forgets what it was asked
}

// tapBuffer is how much may wait to be read, in bytes: about 100,000 frames.
const tapBuffer = 256 << 20

// openTap runs in the switch's namespace.
func openTap() (*tap, error) {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return nil, fmt.Errorf("finding the bridge: %w", err)
	}
	filter, err := tapFilter(bridge.Attrs().Index)
	if err != nil {
		return nil, err
	}
	// Of protocol 0, so that nothing comes in before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, filter),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bits.ReverseBytes16(unix.ETH_P_ALL)}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing a packet socket: %w", err), unix.Close(fd))
	}
	return &tap{file: os.NewFile(uintptr(fd), "tap")}, nil
}

// tapFilter lets through what enters by a port and what the bridge itself sends; not what leaves by a port, what the
// bridge passes up, or the loopback.
func tapFilter(bridge int) (*unix.SockFprog, error) {
	const loopback, whole = 1, 1 << 18 // lo is always the first link of a namespace
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loopback, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(bridge), SkipTrue: 2}, //nolint:gosec // positive
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 2, SkipFalse: 3},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: whole},
	})
	if err != nil {
		return nil, fmt.Errorf("assembling the capture's filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}, nil //nolint:gosec // nine
}

// received is one frame as the socket gives it.
type received struct {
	frame []byte // good until the next one
	time  time.Time
	port  int // the link's index
}

// read calls f for every frame until the tap is closed. Before it takes anything from the socket it calls busy, and idle
// when nothing waits any more.
func (t *tap) read(f func(received), busy, idle func()) error {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	frame, control := make([]byte, 1<<17), make([]byte, 128)
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		busy()
		for {
			n, cn, _, from, err := unix.Recvmsg(int(fd), frame, control, 0)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EAGAIN):
				idle()
				return false // the poller waits
			case errors.Is(err, unix.ENETDOWN):
				continue // a link went; the others are there
			case err != nil:
				failed = err
				return true
			}
			r := received{frame: frame[:n], time: timestamp(control[:cn])}
			if link, ok := from.(*unix.SockaddrLinklayer); ok {
				r.port = link.Ifindex
			}
			f(r)
		}
	})
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(err, failed)
}

// timestamp is when the kernel had the frame.
func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return time.Unix((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Unix()) //nolint:gosec // its size was checked
		}
	}
	return time.Now()
}

// waiting says whether the socket holds what was not read.
func (t *tap) waiting() (bool, error) {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return false, err
	}
	var size int
	var failed error
	err = raw.Control(func(fd uintptr) { size, failed = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return size > 0, errors.Join(err, failed)
}

// dropped is how many frames the kernel had no room for, since the start.
func (t *tap) dropped() (uint64, error) {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var stats *unix.TpacketStats
	var failed error
	if err := raw.Control(func(fd uintptr) {
		stats, failed = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); err != nil || failed != nil {
		return 0, fmt.Errorf("asking for dropped frames: %w", errors.Join(err, failed))
	}
	t.drops += uint64(stats.Drops)
	return t.drops, nil
}
