package drops

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/florianl/go-nflog/v2"

	"github.com/warren-mesh/warren/policy"
)

// ip4 is an IPv4 header from 10.0.0.1 to 10.0.0.2, and ip6 an IPv6 header from fd00::1 to fd00::2.
func ip4(protocol byte, rest ...byte) []byte {
	h := []byte{0x45, 0, 0, 24, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	return slices.Concat(h, rest)
}

func ip6(protocol byte, rest ...byte) []byte {
	h := make([]byte, 40)
	h[0], h[5], h[6], h[8], h[23], h[24], h[39] = 0x60, 4, protocol, 0xfd, 1, 0xfd, 2
	return slices.Concat(h, rest)
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		packet   []byte
		from, to string
		protocol policy.Protocol
		fails    bool
	}{
		"TCP over IPv4":        {packet: ip4(6, 0, 80, 1, 0), from: "10.0.0.1:80", to: "10.0.0.2:256", protocol: policy.TCP},
		"UDP over IPv6":        {packet: ip6(17, 0, 53, 0, 54), from: "[fd00::1]:53", to: "[fd00::2]:54", protocol: policy.UDP},
		"ICMP has no ports":    {packet: ip4(1, 8, 0, 1, 1), from: "10.0.0.1:0", to: "10.0.0.2:0", protocol: policy.ICMP},
		"cut before its ports": {packet: ip4(6, 0, 80), from: "10.0.0.1:0", to: "10.0.0.2:0", protocol: policy.TCP},
		"empty":                {fails: true},
		"IPv4 that is cut":     {packet: ip4(6)[:19], fails: true},
		"IPv4 that lies":       {packet: append([]byte{0x4f}, ip4(6)[1:]...), fails: true},
		"IPv6 that is cut":     {packet: ip6(6)[:39], fails: true},
		"another version":      {packet: []byte{0x50, 0, 0, 0}, fails: true},
	} {
		h, err := parse(c.packet)
		if (err != nil) != c.fails {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		if !c.fails && (h.from != netip.MustParseAddrPort(c.from) || h.to != netip.MustParseAddrPort(c.to) || h.protocol != c.protocol) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// FuzzParse is about packets that anybody may send.
func FuzzParse(f *testing.F) {
	f.Add(ip4(6, 0, 80, 1, 0))
	f.Add(ip6(17, 0, 53, 0, 54))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if h, err := parse(packet); err == nil && (!h.from.IsValid() || !h.to.IsValid()) {
			t.Errorf("%x: %+v", packet, h)
		}
	})
}

// nobody knows no prefix.
type nobody struct{}

var _ Source = nobody{}

func (nobody) Denied(string) (d policy.Direction, id policy.RuleID, ok bool) { return d, id, false }

func (nobody) Spoofed(string) bool                                        { return false }
func (nobody) Settled(string) (unbound, revoked bool, d policy.Direction) { return false, false, d }

// TestPast is a rule that went before its packet was told of.
func TestPast(t *testing.T) {
	prefix, packet, index := "ingress-gone/1", ip4(6, 0, 80, 1, 0), uint32(7)
	link := func(i *uint32) string {
		if i == nil {
			return ""
		}
		return "wrp1"
	}
	r, ok := record(nflog.Attribute{Prefix: &prefix, Payload: &packet, OutDev: &index}, nobody{}, link)
	if !ok || r.Reason != ByPast || r.Interface != "wrp1" || r.Time.IsZero() {
		t.Errorf("%+v, %v", r, ok)
	}
	if _, ok := record(nflog.Attribute{Payload: &packet}, nobody{}, link); ok {
		t.Error("a record of what has no prefix")
	}
}

func TestGaps(t *testing.T) {
	var g gaps
	for _, c := range []struct{ seq, lost uint32 }{{1<<32 - 2, 0}, {1<<32 - 1, 0}, {0, 0}, {4, 3}, {5, 0}} {
		g.note(&c.seq)
		if lost := g.take(); lost != c.lost {
			t.Errorf("at %d: %d lost, want %d", c.seq, lost, c.lost)
		}
	}
	g.note(nil)
	if lost := g.take(); lost != 0 {
		t.Errorf("without a number %d are lost", lost)
	}
}
