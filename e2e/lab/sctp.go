package lab

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SCTPSockets says whether the kernel has sockets of SCTP. Where it has none, what is sent and answered is what opens an association: the
// packets INIT and INIT ACK, by raw sockets. A firewall judges those.
var SCTPSockets = sync.OnceValue(func() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
})

// serveSCTP is the echo service by SCTP.
func (e *echo) serveSCTP(h *Host, port uint16) error {
	if !SCTPSockets() {
		return e.answerInits(h)
	}
	for _, unspecified := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		l, err := h.ListenSCTP(netip.AddrPortFrom(unspecified, port))
		if err != nil {
			return err
		}
		e.keep(l)
		go e.accept(l)
	}
	return nil
}

// answerInits answers INITs to all ports.
func (e *echo) answerInits(h *Host) error {
	for _, network := range []string{"ip4:132", "ip6:132"} {
		c, err := h.ListenPacket(network, "")
		if err != nil {
			return err
		}
		e.keep(c)
		if err := answer(network, c, acknowledgeInit); err != nil {
			return err
		}
	}
	return nil
}

// exchangeSCTP is exchange for SCTP.
func (h *Host) exchangeSCTP(ctx context.Context, from netip.Addr, to netip.AddrPort, sent []byte) error {
	dial := h.DialSCTP
	if !SCTPSockets() {
		dial = h.dialRawSCTP
	}
	conn, err := dial(ctx, from, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if raw, is := conn.(*net.IPConn); is {
		return exchangeInit(raw, to.Port())
	}
	return exchangeBytes(conn, sent)
}

// ListenSCTP listens for associations, each of one stream, as a socket of TCP listens for connections. So net takes it for one. It wants
// [SCTPSockets].
func (h *Host) ListenSCTP(at netip.AddrPort) (l net.Listener, err error) {
	err = h.withSCTP(at, func(fd int, f *os.File) (err error) {
		if err := errors.Join(unix.Bind(fd, sockaddr(at)), unix.Listen(fd, 128)); err != nil {
			return err
		}
		l, err = net.FileListener(f)
		return err
	})
	return l, err
}

// DialSCTP opens an association, from an address of its own choice where from is none. It wants [SCTPSockets].
func (h *Host) DialSCTP(ctx context.Context, from netip.Addr, to netip.AddrPort) (conn net.Conn, err error) {
	err = h.withSCTP(to, func(fd int, f *os.File) (err error) {
		if deadline, ok := ctx.Deadline(); ok {
			left := unix.NsecToTimeval(max(time.Until(deadline), time.Millisecond).Nanoseconds())
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &left); err != nil {
				return err
			}
		}
		if from.IsValid() {
			if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
				return err
			}
		}
		if err := unix.Connect(fd, sockaddr(to)); err != nil {
			return fmt.Errorf("connecting by SCTP: %w", err)
		}
		conn, err = net.FileConn(f)
		return err
	})
	return conn, err
}

// withSCTP makes a socket in the host; what do makes of it outlives it.
func (h *Host) withSCTP(of netip.AddrPort, do func(fd int, f *os.File) error) error {
	return h.Do(func() error {
		family := unix.AF_INET
		if of.Addr().Is6() {
			family = unix.AF_INET6
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err != nil {
			return fmt.Errorf("opening a socket of SCTP: %w", err)
		}
		f := os.NewFile(uintptr(fd), "sctp")
		defer f.Close()
		if family == unix.AF_INET6 {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
				return err
			}
		}
		return do(fd, f)
	})
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func (h *Host) dialRawSCTP(ctx context.Context, from netip.Addr, to netip.AddrPort) (conn net.Conn, err error) {
	network := "ip4:132"
	if to.Addr().Is6() {
		network = "ip6:132"
	}
	dialer := net.Dialer{}
	if from.IsValid() {
		dialer.LocalAddr = &net.IPAddr{IP: from.AsSlice()}
	}
	err = h.Do(func() error {
		conn, err = dialer.DialContext(ctx, network, to.Addr().String())
		return err
	})
	return conn, err
}

// A packet that opens an association is a header of the ports, the tag and the checksum, and one chunk (RFC 9260, section 3).
const (
	sctpHeader  = 12
	chunkHeader = 4
	initSize    = sctpHeader + 20

	chunkInit    = 1
	chunkInitAck = 2
)

// exchangeInit sends an INIT and waits for what acknowledges it.
func exchangeInit(conn *net.IPConn, port uint16) error {
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	tag := random[:4]
	tag[0] |= 1 // never 0
	sent := initChunk(chunkInit, 1<<15|binary.BigEndian.Uint16(random[4:]), port, make([]byte, 4), tag)
	if _, err := conn.Write(sent); err != nil {
		return err
	}
	got := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(got) // which, unlike Read, leaves the header of IPv4 out
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		if n >= initSize && got[sctpHeader] == chunkInitAck && string(got[4:8]) == string(tag) {
			return nil
		}
	}
}

// acknowledgeInit is what answers an INIT; nil for everything else.
func acknowledgeInit(got []byte) []byte {
	if len(got) < initSize || got[sctpHeader] != chunkInit {
		return nil
	}
	from, to := binary.BigEndian.Uint16(got), binary.BigEndian.Uint16(got[2:])
	tag := got[sctpHeader+chunkHeader:][:4]
	return initChunk(chunkInitAck, to, from, tag, []byte{1, 2, 3, 4})
}

func initChunk(kind byte, from, to uint16, tag, initTag []byte) []byte {
	p := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
	p = append(append(p, tag...), 0, 0, 0, 0) // the checksum
	p = append(p, kind, 0, 0, initSize-sctpHeader)
	p = append(p, initTag...)
	p = append(p, 0, 1, 0, 0 /* window */, 0, 1, 0, 1 /* streams */, 0, 0, 0, 1 /* TSN */)
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}
