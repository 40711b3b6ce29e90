package checkpoint

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

var comparePlans = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}, netip.AddrPort{}, identity.PublicKey{}),
}

// TestRoundTrip: every plan that is computed is read back as it was.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawPlan(t)
		content, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(content)
		if err != nil {
			t.Fatalf("%v\n%s", err, content)
		}
		if diff := cmp.Diff(want, got, comparePlans); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if again, err := Encode(got); err != nil || !bytes.Equal(content, again) {
			t.Fatalf("it would be written again: %v\n%s\n%s", err, content, again)
		}
	})
}

// TestDecodeRefuses damage to the file itself.
func TestDecodeRefuses(t *testing.T) {
	whole, err := Encode(plan(3))
	if err != nil {
		t.Fatal(err)
	}
	header, body, _ := strings.Cut(string(whole), "\n")
	words := strings.Split(header, " ")
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct{ name, content, want string }{
		{"empty", "", "torn or no checkpoint"},
		{"zeros, as a file that was never synced", strings.Repeat("\x00", len(whole)), "torn or no checkpoint"},
		{"a header only, without its end", header, "torn or no checkpoint"},
		{"a header only", header + "\n", "checksum"},
		{"the last byte is missing", string(whole[:len(whole)-1]), "checksum"},
		{"one bit is another", string(flipped), "checksum"},
		{"something follows", string(whole) + "\n", "checksum"},
		{"another checksum", words[0] + " " + words[1] + " " + strings.Repeat("0", 64) + "\n" + body, "checksum"},
		{"the checksum in capitals", words[0] + " " + words[1] + " " + strings.ToUpper(words[2]) + "\n" + body, "checksum"},
		{"another file", "warren-key 1 " + words[2] + "\n" + body, "no checkpoint"},
		{"a future version", words[0] + " 2 " + words[2] + "\n" + body, `version "2", want 1`},
		{"a version with a zero before it", words[0] + " 01 " + words[2] + "\n" + body, `version "01"`},
		{"JSON without a header", body, "no checkpoint"},
		{"a very long first line", strings.Repeat("a", 1000) + "\n", "no checkpoint"},
		{"no JSON", string(seal([]byte("plan"))), "parsing"},
		{"two plans", string(seal([]byte(body + body))), "something follows"},
		{"text after the plan", string(seal([]byte(body + "x"))), "something follows"},
		{"a field that we do not know", string(seal([]byte(`{"node":"n0","leader":"n1"}`))), "unknown field"},
		{"a private key", string(seal([]byte(`{"node":"n0","lanes":[{"privateKey":"AAAA"}]}`))), "unknown field"},
		{"null", string(seal([]byte("null"))), "0 lanes"},
		{"too large", strings.Repeat("a", MaxSize+1), "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode([]byte(c.content))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestDecodeValidates: a checksum makes no plan of what mesh.Compute would never say.
func TestDecodeValidates(t *testing.T) {
	prefix, addr, endpoint := netip.MustParsePrefix, netip.MustParseAddr, netip.MustParseAddrPort
	for _, c := range []struct {
		name   string
		change func(p *mesh.Plan, lane *mesh.Lane, peer *mesh.Peer)
		want   string
	}{
		{"no node", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Node = "" }, `node ""`},
		{"two lanes", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Lanes = append(p.Lanes, p.Lanes[0]) }, "2 lanes"},
		{"a long name", func(p *mesh.Plan, l *mesh.Lane, _ *mesh.Peer) {
			l.Name, p.Guard.Lanes = "warren0123456789", []string{"warren0123456789"}
		}, "1 to 15 bytes"},
		{"a lane that the guard does not know", func(_ *mesh.Plan, l *mesh.Lane, _ *mesh.Peer) { l.Name = "eth0" }, "its lanes are"},
		{"no MTU", func(_ *mesh.Plan, l *mesh.Lane, _ *mesh.Peer) { l.MTU = 0 }, "MTU is 0"},
		{"another address", func(_ *mesh.Plan, l *mesh.Lane, _ *mesh.Peer) { l.Addresses[0] = prefix("10.244.9.1/32") }, "mesh addresses"},
		{"no cluster", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Guard.Cluster = nil }, "no cluster CIDRs"},
		{"a cluster that is not masked", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Guard.Cluster[0] = prefix("10.244.1.0/16") }, "no masked"},
		{"own outside the cluster", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Guard.Own[0] = prefix("10.0.0.0/8") }, "is in none of"},
		{"mesh outside own", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Guard.Mesh[0] = addr("10.244.9.1") }, "is in none of"},
		{"an exclusion that is not masked", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) {
			p.Guard.NATExclude = []netip.Prefix{prefix("192.0.2.1/24")}
		}, "no masked"},
		{"not natted from others' pods", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) {
			p.Guard.NATOff = []netip.Prefix{prefix("10.244.2.0/24")}
		}, "is in none of"},
		{"a node without an address", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Guard.Nodes = make([]netip.Addr, 1) }, "neither IPv4 nor IPv6"},
		{"everything to one peer", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.AllowedIPs[0] = prefix("0.0.0.0/0") }, "is in none of"},
		{"the cluster to one peer", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.AllowedIPs[0] = prefix("10.244.0.0/16") }, "overlaps this node's own"},
		{"one prefix to two peers", func(_ *mesh.Plan, l *mesh.Lane, q *mesh.Peer) { q.AllowedIPs[0] = l.Peers[1].AllowedIPs[0] }, "is peer"},
		{"an invalid prefix", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.AllowedIPs[0] = netip.Prefix{} }, "no masked"},
		{"no allowed IPs", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.AllowedIPs = nil }, "no allowed IPs"},
		{"no name", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.Node = "" }, "no name"},
		{"this node's name", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.Node = "n0" }, "another's too"},
		{"this node's key", func(_ *mesh.Plan, l *mesh.Lane, q *mesh.Peer) { q.PublicKey = l.PublicKey }, "another's too"},
		{"one key twice", func(_ *mesh.Plan, l *mesh.Lane, q *mesh.Peer) { q.PublicKey = l.Peers[1].PublicKey }, "another's too"},
		{"an endpoint without a port", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.Endpoint = endpoint("192.0.2.1:0") }, "its endpoint is"},
		{"an endpoint of one link", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.Endpoint = endpoint("[fe80::1%eth0]:1") }, "its endpoint is"},
		{"a negative keepalive", func(_ *mesh.Plan, _ *mesh.Lane, q *mesh.Peer) { q.Keepalive = -time.Second }, "keepalive"},
		{"a default route", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Routes[2].Destination = prefix("0.0.0.0/0") }, "is in none of"},
		{"a route by another link", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Routes[2].Device = "eth0" }, "leaves by"},
		{"a route from another address", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Routes[2].Source = addr("192.0.2.1") }, "no mesh address"},
		{"unreachable first", func(p *mesh.Plan, _ *mesh.Lane, _ *mesh.Peer) { p.Routes[0].Metric = 0 }, "last resort"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plan(3)
			c.change(&p, &p.Lanes[0], p.Lanes[0].Peers[0])
			content, err := Encode(p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = Decode(content); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

// FuzzDecode: nothing makes Decode panic, and what it accepts is written and read as the same. It is also given what has a right
// checksum, which chance would never find.
func FuzzDecode(f *testing.F) {
	for _, n := range []int{0, 1, 3} {
		content, err := Encode(plan(n))
		if err != nil {
			f.Fatal(err)
		}
		body, err := json.Marshal(plan(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, false)
		f.Add(body, true)
	}
	f.Add([]byte("warren-plan 2 \n"), false)
	f.Add([]byte(`{"node":"n0","lanes":[{"peers":[{"endpoint":"[::%25]:1"}]}],"NODE":"n1"}`), true)
	f.Fuzz(func(t *testing.T, content []byte, sealed bool) {
		if sealed {
			content = seal(content)
		}
		p, err := Decode(content)
		if err != nil {
			return
		}
		again, err := Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := Decode(again)
		if diff := cmp.Diff(p, q, comparePlans); err != nil || diff != "" {
			t.Fatalf("%v (-first +second):\n%s", err, diff)
		}
	})
}
