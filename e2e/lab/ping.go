package lab

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// PingOptions say how to ping. The zero value is one packet of 56 bytes, as ping's.
type PingOptions struct {
	// Count is how many answers are needed, one after the other; 0 is 1.
	Count int
	// Size is the payload, in bytes, without the 8 of ICMP; 0 is 56.
	Size int
	// DontFragment forbids fragments on the way and here.
	DontFragment bool
	// Timeout is how long to wait for each answer, before [pace] stretches it; 0 is 2 seconds.
	Timeout time.Duration
}

// Unreachable is an ICMP error in answer to a ping.
type Unreachable struct { //nolint:errname // it is what the network said, whoever takes it for an error
	From netip.Addr
	// Type and Code are ICMP's or ICMPv6's, as From's family.
	Type, Code byte
	// MTU is what a packet that is too big is told, in bytes; else 0.
	MTU int
}

func (u *Unreachable) Error() string {
	if u.MTU != 0 {
		return fmt.Sprintf("packet too big, says %s: MTU %d", u.From, u.MTU)
	}
	return fmt.Sprintf("ICMP error of %s: type %d code %d", u.From, u.Type, u.Code)
}

// Ping sends ICMP echo requests to an address and waits for the answers, whose content must be what was sent. An ICMP
// error is an [Unreachable]; what the host's own kernel refuses is its errno.
func (h *Host) Ping(ctx context.Context, to netip.Addr, o PingOptions) error {
	setDefault(&o.Count, 1)
	setDefault(&o.Size, 56)
	setDefault(&o.Timeout, 2*time.Second)
	p, err := h.newPinger(to, o)
	if err != nil {
		return fmt.Errorf("%s: pinging %s: %w", h.Name, to, err)
	}
	defer p.conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = p.conn.Close() })
	defer stop()
	for n := range o.Count {
		if err := p.once(uint16(n)); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%s: pinging %s: %w", h.Name, to, err)
		}
	}
	return nil
}

// pinger is a raw socket in the host. It sees every ICMP packet that the host gets.
type pinger struct {
	conn net.PacketConn
	to   netip.Addr
	id   uint16
	o    PingOptions
}

func (h *Host) newPinger(to netip.Addr, o PingOptions) (*pinger, error) {
	network, local := "ip4:icmp", "0.0.0.0"
	if to.Is6() {
		network, local = "ip6:ipv6-icmp", "::"
	}
	conn, err := h.ListenPacket(network, local)
	if err != nil {
		return nil, err
	}
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := &pinger{conn: conn, to: to, id: binary.BigEndian.Uint16(id[:]), o: o}
	if err := p.setFragmentation(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p, nil
}

func (p *pinger) setFragmentation() error {
	raw, err := p.conn.(*net.IPConn).SyscallConn()
	if err != nil {
		return err
	}
	level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT
	if p.to.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	if p.o.DontFragment {
		value = unix.IP_PMTUDISC_DO // the same number for IPv6
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	if failed == nil && p.to.Is6() && p.o.DontFragment {
		failed = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), level, unix.IPV6_DONTFRAG, 1) })
	}
	return failed
}

// The types of an echo request and reply.
const (
	request4, reply4 = 8, 0
	request6, reply6 = 128, 129
)

func (p *pinger) once(sequence uint16) error {
	request, reply := byte(request4), byte(reply4)
	if p.to.Is6() {
		request, reply = request6, reply6
	}
	message := make([]byte, 8+p.o.Size)
	if _, err := rand.Read(message[8:]); err != nil {
		return err
	}
	message[0] = request
	binary.BigEndian.PutUint16(message[4:], p.id)
	binary.BigEndian.PutUint16(message[6:], sequence)
	if p.to.Is4() { // the kernel fills in IPv6's
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	if _, err := p.conn.WriteTo(message, &net.IPAddr{IP: p.to.AsSlice()}); err != nil {
		return err
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(pace.Scale(p.o.Timeout))); err != nil {
		return err
	}
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		got := buffer[:n]
		if len(got) < 8 {
			continue
		}
		if got[0] == reply && string(got[4:8]) == string(message[4:8]) {
			return same(message[8:], got[8:])
		}
		if u := p.unreachable(got, message[4:8]); u != nil {
			u.From, _ = netip.ParseAddr(from.String())
			return u
		}
	}
}

// unreachable reads an ICMP error if it is about our request: the one with this identifier and sequence number.
func (p *pinger) unreachable(got, ours []byte) *Unreachable {
	header := 40
	isError := got[0] >= 1 && got[0] <= 4
	if p.to.Is4() {
		if len(got) < 8+20 {
			return nil
		}
		header = int(got[8]&0x0f) * 4
		isError = got[0] == 3 || got[0] == 11 || got[0] == 12
	}
	if p.to.Is6() && len(got) > 8+6 && got[8+6] == unix.IPPROTO_FRAGMENT {
		header += 8
	}
	if !isError || len(got) < 8+header+8 || string(got[8+header+4:8+header+8]) != string(ours) {
		return nil
	}
	u := &Unreachable{Type: got[0], Code: got[1]}
	switch {
	case p.to.Is4() && u.Type == 3 && u.Code == 4:
		u.MTU = int(binary.BigEndian.Uint16(got[6:]))
	case p.to.Is6() && u.Type == 2:
		u.MTU = int(binary.BigEndian.Uint32(got[4:]))
	}
	return u
}

// checksum is the Internet checksum (RFC 1071).
func checksum(p []byte) uint16 {
	var sum uint32
	for i, b := range p {
		if i%2 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
