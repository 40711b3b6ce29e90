package nft

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/policytest"
)

// wire is a node in the test's own namespace, and the far ends of its links: of the pods that are on it, of a lane to the others, and of the
// world. At the far ends is nobody but the test, who sends and sees packets there.
type wire struct {
	t *testing.T
	// frames is a socket that has all far ends, and links their indexes.
	frames int
	links  map[string]int
	// node4 and node6 send what is from the node, and inbox are what it gets once its rules have let it in.
	node4, node6 int
	inbox        []int
}

const (
	localPods = 6
	lane      = "warren0"
	world     = "eth0"
	onNode    = "the node"
)

func newWire(t *testing.T) *wire {
	t.Helper()
	namespace(t)
	pinned(t)
	w := &wire{t: t, links: map[string]int{}}
	run(t, quiet+`; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0`)
	far := nfttest.NewHost(t, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
	routes := map[string][]string{lane: {pods4.String(), pods6.String()}, world: {"default", "192.0.2.0/24", "2001:db8::/64", "::/0"}}
	for i := range localPods {
		for _, a := range policytest.PodAddresses(i) {
			routes[policytest.Interface(i)] = append(routes[policytest.Interface(i)], a.String())
		}
	}
	const mac = "address 02:00:00:00:00:01"
	var build strings.Builder
	for link, to := range routes {
		build.WriteString("ip link add " + link + " " + mac + " type veth peer name " + link + " " + mac + " netns " + strconv.Itoa(far.PID) + "; ip link set " + link + " arp off up\n")
		for _, r := range to {
			build.WriteString("ip route add " + r + " dev " + link + "\n")
		}
	}
	run(t, "%s ip addr add %s/32 dev lo; ip addr add %s/128 dev lo", build.String(), nodeAddresses[0], nodeAddresses[1])
	for link := range routes {
		index, _, _ := strings.Cut(far.Run("ip link set %s up; ip -o link show %s", link, link), ":")
		var err error
		if w.links[link], err = strconv.Atoi(index); err != nil {
			t.Fatal(err)
		}
	}
	if err := far.Within(func() (err error) { w.frames, err = packetSocket(); return err }); err != nil {
		t.Fatal(err)
	}
	w.node4, w.node6 = w.socket(unix.AF_INET, unix.IPPROTO_RAW), w.socket(unix.AF_INET6, unix.IPPROTO_RAW)
	for _, p := range []policy.Protocol{policy.ICMP, policy.TCP, policy.UDP, policy.SCTP, gre} {
		w.inbox = append(w.inbox, w.socket(unix.AF_INET, int(p)))
	}
	for _, p := range []policy.Protocol{policy.ICMPv6, policy.TCP, policy.UDP, policy.SCTP, gre} {
		w.inbox = append(w.inbox, w.socket(unix.AF_INET6, int(p)))
	}
	w.warm()
	return w
}

// warm waits until every link carries what is sent, which it does a while after it is up.
func (w *wire) warm() {
	w.t.Helper()
	all := []datagram{{Packet: policy.Packet{From: addr("192.0.2.1"), To: addr("192.0.2.2"), Protocol: policy.UDP}}, {Packet: policy.Packet{From: addr("192.0.2.1"), To: addr("10.0.0.200"), Protocol: policy.UDP}}}
	for i := range localPods {
		for f, to := range policytest.PodAddresses(i) {
			all = append(all, datagram{Packet: policy.Packet{From: nodeAddresses[f], To: to, Protocol: policy.UDP}, id: uint16(i + 1)})
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		arrived, err := w.send(all)
		if err == nil && !slices.Contains(arrived, false) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the links do not carry packets: %v, %v", arrived, err)
		}
	}
}

const gre policy.Protocol = 47

var nodeAddresses = []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}

// pinned keeps the test's thread, which ends with the test, on one processor. What the kernel does with the packets that it sends it does
// there too, one after the other.
func pinned(t *testing.T) {
	t.Helper()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !all.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
}

// queue is what a socket may hold: more than is ever sent at once.
const queue = 16 << 20

func packetSocket() (int, error) {
	all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return 0, err
	}
	patience := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
	return fd, errors.Join(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queue), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
}

func (w *wire) socket(family, protocol int) int {
	w.t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queue)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// at is the link behind which an address is.
func at(a netip.Addr) string {
	link, known := linkOf[a]
	switch {
	case known:
		return link
	case pods4.Contains(a) || pods6.Contains(a):
		return lane
	}
	return world
}

var (
	pods4, pods6 = netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64")
	linkOf       = func() map[netip.Addr]string {
		of := map[netip.Addr]string{nodeAddresses[0]: onNode, nodeAddresses[1]: onNode}
		for i := range localPods {
			for _, a := range policytest.PodAddresses(i) {
				of[a] = policytest.Interface(i)
			}
		}
		return of
	}()
)

// together is how many packets are under way at most: fewer than a processor's backlog holds.
const together = 256

// send sends all datagrams and says of each whether it came to where its destination is.
func (w *wire) send(all []datagram) (arrived []bool, err error) {
	for len(all) > 0 {
		n := min(together, len(all))
		some, err := w.sendSome(all[:n])
		if err != nil {
			return nil, err
		}
		arrived, all = append(arrived, some...), all[n:]
	}
	return arrived, nil
}

func (w *wire) sendSome(some []datagram) ([]bool, error) {
	// The last is one that nobody judges: behind it is nothing.
	last := datagram{Packet: policy.Packet{From: addr("198.51.100.250"), To: addr("10.0.0.250"), Protocol: policy.UDP, Port: 9}, id: 9}
	some = append(some[:len(some):len(some)], last)
	byPayload := make(map[string]int, len(some))
	for i, d := range some {
		byPayload[string(d.payload())] = i
		if err := w.transmit(d); err != nil {
			return nil, err
		}
	}
	arrived := make([]bool, len(some))
	see := func(payload []byte, link string) {
		if i, sent := byPayload[string(payload)]; sent {
			if _, to := some[i].ends(); at(to) == link {
				arrived[i] = true
			}
		}
	}
	names := make(map[int]string, len(w.links))
	for name, index := range w.links {
		names[index] = name
	}
	frame := make([]byte, 2048)
	for !arrived[len(some)-1] {
		n, from, err := unix.Recvfrom(w.frames, frame, 0)
		if err != nil {
			return nil, errors.Join(errors.New("waiting for the last packet"), err)
		}
		if link, is := from.(*unix.SockaddrLinklayer); is && n > 14 {
			see(payloadOf(frame[14:n]), names[link.Ifindex])
		}
	}
	for _, fd := range w.inbox {
		for {
			n, from, err := unix.Recvfrom(fd, frame, 0)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				return nil, err
			}
			if _, is4 := from.(*unix.SockaddrInet4); is4 {
				see(payloadOf(frame[:n]), onNode)
			} else {
				see(frame[:n], onNode)
			}
		}
	}
	return arrived[:len(some)-1], nil
}

// transmit sends a datagram from where its source is.
func (w *wire) transmit(d datagram) error {
	packet, kind := d.packet()
	from, to := d.ends()
	link := at(from)
	switch {
	case link != onNode:
		const mac = "\x02\x00\x00\x00\x00\x01"
		frame := append(binary.BigEndian.AppendUint16([]byte(mac+mac), kind), packet...)
		return unix.Sendto(w.frames, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.links[link]})
	case to.Is4():
		return unix.Sendto(w.node4, packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
	}
	return unix.Sendto(w.node6, packet, 0, &unix.SockaddrInet6{Addr: to.As16()})
}
