package podnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// answerSize is the room for what the kernel answers at a time, in bytes: a link is less than two thousand, and of a dump it fills no more.
const answerSize = 16 << 10

// batch is a rtnetlink socket that takes many requests at a time. A pod's wire is a dozen of them: each by itself they cost the agent more
// than the kernel.
type batch struct {
	fd     int
	seq    uint32
	answer []byte
}

// newBatch opens one in the current network namespace.
func newBatch() (*batch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink socket: %w", err)
	}
	limit := unix.NsecToTimeval(requestTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, errors.Join(fmt.Errorf("setting time-out of rtnetlink socket: %w", err), unix.Close(fd))
	}
	return &batch{fd: fd, answer: make([]byte, answerSize)}, nil
}

func (b *batch) close() { _ = unix.Close(b.fd) }

// request is one of a batch. What says what it does, for the error that it may come to.
type request struct {
	*nl.NetlinkRequest
	what string
	// answers are the messages that it was answered with, and err what became of it.
	answers [][]byte
	err     error
	done    bool
	// interrupted says that what was listed changed meanwhile.
	interrupted bool
}

// ask is a request of a kind (unix.RTM_...), with its header.
func ask(what string, kind, flags int, header nl.NetlinkRequestData) *request {
	r := &request{NetlinkRequest: nl.NewNetlinkRequest(kind, flags), what: what}
	r.AddData(header)
	return r
}

// add puts an attribute into it.
func (r *request) add(kind int, data []byte) *request {
	r.AddData(nl.NewRtAttr(kind, data))
	return r
}

// do sends requests, in this order, and waits for their answers. One that fails keeps none from being done; the error is that of all.
func (b *batch) do(requests ...*request) error {
	var message []byte
	first := b.seq + 1
	for _, r := range requests {
		b.seq++
		r.Seq = b.seq
		message = append(message, r.Serialize()...) // Each is a whole number of words long.
	}
	if err := unix.Sendto(b.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("asking rtnetlink: %w", err)
	}
	for open := len(requests); open > 0; {
		n, from, err := unix.Recvfrom(b.fd, b.answer, unix.MSG_TRUNC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n > len(b.answer) {
			err = unix.EMSGSIZE
		}
		if err != nil {
			return fmt.Errorf("hearing from rtnetlink: %w", err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != nl.PidKernel {
			continue
		}
		messages, err := syscall.ParseNetlinkMessage(b.answer[:n])
		if err != nil {
			return fmt.Errorf("hearing from rtnetlink: %w", err)
		}
		for _, m := range messages {
			if i := m.Header.Seq - first; i < uint32(len(requests)) && requests[i].hear(m) { //nolint:gosec // few
				open--
			}
		}
	}
	var errs []error
	for _, r := range requests {
		if r.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.what, r.err))
		}
	}
	return errors.Join(errs...)
}

// hear takes an answer, and says whether it was the last.
func (r *request) hear(m syscall.NetlinkMessage) bool {
	r.interrupted = r.interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
	switch m.Header.Type {
	case unix.NLMSG_ERROR, unix.NLMSG_DONE:
		if len(m.Data) >= 4 {
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 { //nolint:gosec // as the kernel has it
				r.err = syscall.Errno(-code) //nolint:gosec // no error is negative
			}
		}
		last := !r.done
		r.done = true
		return last
	default:
		r.answers = append(r.answers, append([]byte(nil), m.Data...))
	}
	return false
}
