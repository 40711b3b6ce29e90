package route

import (
	"encoding/binary"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func setConf6(t *testing.T, name, key, value string) {
	t.Helper()
	if err := setSysctl(filepath.Join(conf6, name, key), value); err != nil {
		t.Fatal(err)
	}
}

func TestEnableForwarding(t *testing.T) {
	inNetNS(t)
	for _, name := range []string{"eth0", "xth1", "yth2", "wrp0123456789ab"} {
		lane(t, name)
	}
	var messages int
	r := newRouter(t, &messages)
	setConf6(t, "default", "accept_ra", "1")
	setConf6(t, "xth1", "accept_ra", "0")
	setConf6(t, "yth2", "forwarding", "1") // it ignores advertisements already
	if err := r.EnableForwarding(true, false); err != nil {
		t.Fatal(err)
	}
	if all, _ := readSysctl(filepath.Join(conf6, "all/forwarding")); all != "0" {
		t.Errorf("IPv6 forwarding %s where only IPv4 was asked for", all)
	}
	for range 2 {
		if err := r.EnableForwarding(true, true); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{
			forward4:                             "1",
			conf6 + "/all/forwarding":            "1",
			conf6 + "/eth0/forwarding":           "1",
			conf6 + "/eth0/accept_ra":            "2",
			conf6 + "/xth1/accept_ra":            "0",
			conf6 + "/yth2/accept_ra":            "1",
			conf6 + "/default/accept_ra":         "1",
			conf6 + "/lo/accept_ra":              "1",
			conf6 + "/wrp0123456789ab/accept_ra": "1",
		} {
			if got, err := readSysctl(path); got != want || err != nil {
				t.Errorf("%s is %q (%v), want %s", path, got, err, want)
			}
		}
	}
}

// A default route learnt from a router must outlive the switch to forwarding.
func TestEnableForwardingKeepsAdvertisedRoute(t *testing.T) {
	inNetNS(t)
	ip(t, "link add eth0 type veth peer name router")
	ip(t, "link set router addrgenmode none")
	setConf6(t, "router", "forwarding", "1")
	setConf6(t, "eth0", "accept_ra", "1")
	setConf6(t, "eth0", "accept_ra_from_local", "1") // the router is in the same namespace
	ip(t, "addr add fe80::1/64 dev router nodad")
	events := watch(t)
	ip(t, "link set router up")
	ip(t, "link set eth0 up")
	for !strings.Contains(ip(t, "-6 addr show dev eth0 scope link -tentative"), "inet6") {
		await(t, events, Event{Address, "eth0"})
	}
	advertise(t, "router")
	for ip(t, "-6 route show default") == "" {
		await(t, events, Event{Route, "eth0"})
	}
	var messages int
	if err := newRouter(t, &messages).EnableForwarding(false, true); err != nil {
		t.Fatal(err)
	}
	if got := ip(t, "-6 route show default"); !strings.HasPrefix(got, "default via fe80::1 dev eth0 proto ra") {
		t.Errorf("default route after forwarding was switched on: %q", got)
	}
}

// advertise sends one router advertisement, lifetime half an hour, to all nodes by a link.
func advertise(t *testing.T, link string) {
	t.Helper()
	i, err := net.InterfaceByName(link)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 16)
	message[0], message[4] = 134, 64
	binary.BigEndian.PutUint16(message[6:], 1800)
	to := &unix.SockaddrInet6{ZoneId: uint32(i.Index), Addr: [16]byte{0: 0xff, 1: 0x02, 15: 1}}
	if err := unix.Sendto(fd, message, 0, to); err != nil {
		t.Fatal(err)
	}
}
