package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// dumpBuffer is more than the kernel puts into one answer. The kernel fills answers up to what the reader had room for the last time, and for each
// it walks a hash set from the beginning: with a page, which is what the libraries begin with, it walks a set of 100,000 a thousand times.
const dumpBuffer = 64 << 10

// dump asks for all there is of something, and hands on the attributes of each answer. They hold until do returns. Somebody else's change
// meanwhile is no error: whom it matters to compares generations.
func (c *Conn) dump(kind netlink.HeaderType, f Family, asked []netlink.Attribute, do func(attributes []byte) error) error {
	data, err := netlink.MarshalAttributes(asked)
	if err != nil {
		return err
	}
	request, err := c.raw.Send(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{byte(f), nfnetlinkVersion, 0, 0}, data...),
	})
	if err != nil {
		return err
	}
	if c.buffer == nil {
		c.buffer = make([]byte, dumpBuffer)
	}
	for done := false; !done; {
		n, err := c.receive()
		if err != nil {
			return err
		}
		if done, err = answers(c.buffer[:n], request.Header.Sequence, do); err != nil {
			return err
		}
	}
	return nil
}

// nfnetlinkVersion is NFNETLINK_V0.
const nfnetlinkVersion = 0

// receive waits for the next answers.
func (c *Conn) receive() (n int, err error) {
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), c.buffer, unix.MSG_TRUNC)
		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
	})
	if err = errors.Join(err, failed); err == nil && n > len(c.buffer) {
		err = fmt.Errorf("the kernel answers %d bytes, and there is room for %d", n, len(c.buffer))
	}
	return n, err
}

// answers goes through the messages of one datagram. It is done with the last of a dump.
func answers(datagram []byte, sequence uint32, do func(attributes []byte) error) (done bool, err error) {
	for len(datagram) >= unix.SizeofNlMsghdr {
		native := binary.NativeEndian
		size, kind := int(native.Uint32(datagram)), binary.NativeEndian.Uint16(datagram[4:])
		if size < unix.SizeofNlMsghdr || size > len(datagram) || native.Uint32(datagram[8:]) != sequence {
			return false, errors.New("the kernel answers something else than what was asked")
		}
		body := datagram[unix.SizeofNlMsghdr:size]
		switch {
		case kind == unix.NLMSG_DONE || kind == unix.NLMSG_ERROR:
			if len(body) < 4 {
				return true, errors.New("the kernel's answer is cut off")
			}
			if errno := -int32(native.Uint32(body)); errno != 0 { //nolint:gosec // it is one
				return true, unix.Errno(errno) //nolint:gosec // and not negative
			}
			return true, nil
		case len(body) < nfgenmsgLen:
			return false, errors.New("the kernel's answer is cut off")
		}
		if err := do(body[nfgenmsgLen:]); err != nil {
			return false, err
		}
		datagram = datagram[min(align(size), len(datagram)):]
	}
	return false, nil
}

// eachAttribute goes through attributes, without the flags of their types.
func eachAttribute(attributes []byte, do func(kind uint16, value []byte) error) error {
	for len(attributes) >= unix.NLA_HDRLEN {
		size := int(binary.NativeEndian.Uint16(attributes))
		if size < unix.NLA_HDRLEN || size > len(attributes) {
			return errors.New("an attribute is cut off")
		}
		if err := do(binary.NativeEndian.Uint16(attributes[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), attributes[unix.NLA_HDRLEN:size]); err != nil {
			return err
		}
		attributes = attributes[min(align(size), len(attributes)):]
	}
	return nil
}

// align is where what follows begins.
func align(size int) int { return (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1) }
