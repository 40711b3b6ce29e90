package nft

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
)

// own are the sockets of this process.
var own = sockets{ports: map[uint32]bool{}, watching: map[*netlink.Conn]bool{}}

// sockets are those by which tables are changed, and those which hear of changes. The kernel tells of each chain, rule and element that comes or
// goes, to all who listen: it is not to tell a process of what that did itself.
type sockets struct {
	mu sync.Mutex
	// ports are the netlink ports of the former. The kernel puts one into every notice of a change that was made by it.
	ports    map[uint32]bool
	watching map[*netlink.Conn]bool
}

// has says whether a port is one of theirs.
func (s *sockets) has(port uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ports[port]
}

// replace has one port be another's; 0 stands for none. A filter that cannot be set any more is of a socket that was just closed; what one lets through
// nobody takes for another's (concerns).
func (s *sockets) replace(old, port uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ports, old)
	if port != 0 {
		s.ports[port] = true
	}
	for conn := range s.watching {
		_ = s.filter(conn)
	}
}

// watch keeps notices of what is done by the ports, also of those to come, from a socket that hears of changes, until forget.
func (s *sockets) watch(conn *netlink.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watching[conn] = true
	return s.filter(conn)
}

func (s *sockets) forget(conn *netlink.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watching, conn)
}

// filter has the kernel drop such notices. All messages of one datagram are of one transaction, and so by one port; mu is held.
func (s *sockets) filter(conn *netlink.Conn) error {
	const portOffset, portSize = 12, 4 // nlmsg_pid of struct nlmsghdr
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: portOffset, Size: portSize}}
	for port := range s.ports {
		// The program takes for big-endian what is as the machine has it.
		loaded := binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, port))
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loaded, SkipTrue: 1}, bpf.RetConstant{Val: 0})
	}
	raw, err := bpf.Assemble(append(program, bpf.RetConstant{Val: math.MaxUint32}))
	if err != nil {
		return err
	}
	return conn.SetBPF(raw)
}
