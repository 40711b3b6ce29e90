package nft

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"
)

// TestNoInstantWithoutRanges: rules that come with a set of ranges never find it empty, while packets meet them all the time.
func TestNoInstantWithoutRanges(t *testing.T) {
	c := open(t)
	to := netip.MustParseAddr("10.244.2.5")
	if out, err := exec.Command("sh", "-ec", `ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up
		ip address add 10.244.0.1/16 dev d0; ip neigh add 10.244.2.5 lladdr 0e:00:00:00:00:01 dev d0`).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		t.Fatal(err)
	}
	done, sent := make(chan struct{}), 0
	go func() {
		defer close(done)
		for {
			switch _, err := conn.Write(make([]byte, 20)); {
			case err == nil:
				sent++
			case errors.Is(err, net.ErrClosed):
				return
			}
		}
	}()
	const missed = "missed"
	table := Table{
		Family: INet, Name: "t", Counters: []Counter{{Name: missed}},
		Sets: []Set{AddressSet("a", IPv4, []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("10.244.2.0/24")})},
		Chains: []Chain{{Name: "c", Hook: &Hook{Type: "filter", Number: Postrouting}, Rules: []Rule{
			NewRule(Daddr(netip.PrefixFrom(to, 32)), DaddrNotIn(IPv4, "a"), CountAs(missed)),
		}}},
	}
	began, times, found := time.Now(), 0, uint64(0)
	for ; time.Since(began) < 3*time.Second; times++ {
		if _, err := c.Apply(nil, table); err != nil {
			t.Fatal(err)
		}
		got, err := c.Read(INet, "t")
		if err != nil {
			t.Fatal(err)
		}
		found += got.counter(missed).Packets
		nft(t, "delete table inet t")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	<-done
	t.Logf("%d tables among %d packets", times, sent)
	if found > 0 || sent < times {
		t.Errorf("%d of %d packets found the set empty", found, sent)
	}
}
