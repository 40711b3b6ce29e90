package nft

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// answer is one message of a datagram, filled up to where the next begins.
func answer(kind uint16, sequence uint32, body ...byte) []byte {
	out := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = binary.NativeEndian.AppendUint16(out, 0)
	out = binary.NativeEndian.AppendUint32(out, sequence)
	out = append(append(out, 0, 0, 0, 0), body...)
	return append(out, make([]byte, align(len(out))-len(out))...)
}

func TestAnswers(t *testing.T) {
	const set = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWSETELEM
	number := func(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
	join := func(all ...[]byte) (out []byte) {
		for _, one := range all {
			out = append(out, one...)
		}
		return out
	}
	for name, c := range map[string]struct {
		datagram []byte
		done     bool
		bodies   int
		err      error
		fails    bool
	}{
		"two, and more to come":     {datagram: join(answer(set, 7, 0, 0, 0, 0, 1), answer(set, 7, 0, 0, 0, 0)), bodies: 2},
		"the end":                   {datagram: join(answer(set, 7, 0, 0, 0, 0), answer(unix.NLMSG_DONE, 7, number(0)...)), bodies: 1, done: true},
		"no such set":               {datagram: answer(unix.NLMSG_ERROR, 7, number(-int32(unix.ENOENT))...), done: true, err: unix.ENOENT},
		"an end that failed":        {datagram: answer(unix.NLMSG_DONE, 7, number(-int32(unix.EINTR))...), done: true, err: unix.EINTR},
		"to another question":       {datagram: answer(set, 6, 0, 0, 0, 0), fails: true},
		"longer than it is":         {datagram: answer(set, 7, 0, 0, 0, 0)[:18], fails: true},
		"no family":                 {datagram: answer(set, 7, 0), fails: true},
		"an error without a number": {datagram: answer(unix.NLMSG_ERROR, 7, 1), done: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			bodies := 0
			done, err := answers(c.datagram, 7, func([]byte) error { bodies++; return nil })
			if done != c.done || bodies != c.bodies || (err != nil) != (c.fails || c.err != nil) || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("done %v, %d bodies, error %v; want %+v", done, bodies, err, c)
			}
		})
	}
}

// TestElementOfCutOff is about what no kernel says.
func TestElementOfCutOff(t *testing.T) {
	for _, cut := range [][]byte{{3, 0, 1, 0}, {9, 0, 1, 0, 1}, {8, 0, unix.NFTA_SET_ELEM_KEY, 0x80, 9, 0, 1, 0}} {
		if e, err := elementOf(IPv4Addresses, cut); err == nil {
			t.Errorf("%v is %+v", cut, e)
		}
	}
}
