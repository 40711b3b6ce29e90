package guard

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// firewalls are rulesets that refuse to forward for us, as others make them, and what takes all their rules away.
var firewalls = map[string]struct{ make, chain, flush string }{
	"iptables policy": {
		make: `iptables -P FORWARD DROP; iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment theirs -j ACCEPT
			ip6tables -P FORWARD DROP; ip6tables -A FORWARD -p tcp --dport 22 -j LOG`,
		chain: "ip filter FORWARD", flush: "iptables -F FORWARD; ip6tables -F FORWARD",
	},
	"iptables last rule": {
		make: `iptables -A FORWARD -i docker0 -j ACCEPT; iptables -A FORWARD -j REJECT --reject-with icmp-host-prohibited
			ip6tables -A FORWARD -j REJECT`,
		chain: "ip filter FORWARD",
		flush: "iptables -F FORWARD; iptables -A FORWARD -j DROP; ip6tables -F FORWARD; ip6tables -A FORWARD -j DROP",
	},
	"firewalld": {
		make: `nft 'table inet firewalld {
			chain filter_FORWARD {
				type filter hook forward priority filter + 10; policy accept;
				ct state { established, related } accept
				ct status dnat accept
				iifname "lo" accept
				ct state { invalid } drop
				reject with icmpx type admin-prohibited
			}
		}'`,
		chain: "inet firewalld filter_FORWARD",
		flush: "nft flush chain inet firewalld filter_FORWARD; nft add rule inet firewalld filter_FORWARD reject with icmpx type admin-prohibited",
	},
}

// TestOthers sends packets through the firewalls.
func TestOthers(t *testing.T) {
	for name, f := range firewalls {
		for family, s := range sides {
			t.Run(name+"/"+family, func(t *testing.T) {
				l := build(t, s)
				run(t, "%s", f.make)
				before := run(t, "nft list ruleset")
				if _, err := l.peer.Try(l.ping(l.side.pod, l.side.peer)); err == nil {
					t.Fatal("the firewall lets everything through: this test proves nothing")
				}
				g := newGuard(t)
				set(t, g, dual())
				passes := func() {
					t.Helper()
					l.pod.Run("%s", l.ping(l.side.peer, ""))
					l.pod.Run("%s", l.ping(l.world, ""))
					l.peer.Run("%s", l.ping(l.side.pod, l.side.peer))
				}
				passes()

				run(t, "%s", f.flush)
				if _, err := l.peer.Try(l.ping(l.side.pod, l.side.peer)); err == nil {
					t.Fatal("the firewall lets everything through: this test proves nothing")
				}
				g.Forget()
				set(t, g, dual())
				passes()
				g.Forget()
				set(t, g, dual())
				if n := strings.Count(run(t, "nft list chain %s", f.chain), comment); n != 4 {
					t.Errorf("%d rules of ours in chain %s, want 4", n, f.chain)
				}

				run(t, "%s; nft flush ruleset; %s", quiet, f.make)
				g.Forget()
				set(t, g, dual())
				if _, err := Remove(); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(before, run(t, "nft list ruleset")); d != "" {
					t.Errorf("after Remove (-before +after):\n%s", d)
				}
			})
		}
	}
}

// TestIptables reads our rules back through iptables.
func TestIptables(t *testing.T) {
	namespace(t)
	run(t, "iptables -P FORWARD DROP; iptables -A FORWARD -i eth7 -j ACCEPT")
	g := newGuard(t)
	set(t, g, dual())
	want := `-P FORWARD DROP
-A FORWARD -i warren0 -m comment --comment "warren.dev" -j ACCEPT
-A FORWARD -o warren0 -m comment --comment "warren.dev" -j ACCEPT
-A FORWARD -i wrp+ -m comment --comment "warren.dev" -j ACCEPT
-A FORWARD -o wrp+ -m comment --comment "warren.dev" -j ACCEPT
-A FORWARD -i eth7 -j ACCEPT`
	listed := func() string { return lines(run(t, "iptables -S FORWARD")) }
	if d := cmp.Diff(want, listed()); d != "" {
		t.Errorf("iptables -S (-want +got):\n%s", d)
	}

	// Somebody saves and restores: the comments are matches now, and still ours.
	run(t, `saved=$(iptables-save); echo "$saved" | iptables-restore`)
	g.Forget()
	set(t, g, dual())
	if d := cmp.Diff(want, listed()); d != "" {
		t.Errorf("iptables -S after a restore (-want +got):\n%s", d)
	}

	// Another lane.
	more := dual()
	more.Lanes = []string{"warren0", "warren1"}
	set(t, g, more)
	if n := strings.Count(listed(), comment); n != 6 {
		t.Errorf("%d rules for two lanes, want 6:\n%s", n, listed())
	}

	// Nothing is refused any more.
	run(t, "iptables -P FORWARD ACCEPT")
	g.Forget()
	set(t, g, more)
	if d := cmp.Diff("-P FORWARD ACCEPT\n-A FORWARD -i eth7 -j ACCEPT", listed()); d != "" {
		t.Errorf("iptables -S without need (-want +got):\n%s", d)
	}
}

// TestRemove takes away what is ours and nothing else, twice.
func TestRemove(t *testing.T) {
	namespace(t)
	run(t, `nft 'table ip6 warren-mesh { chain theirs { accept comment "warren.dev"; }; }'
		nft 'table inet other { chain c { type filter hook forward priority 0; policy drop; iifname "x" accept comment "warren.dev.example"; }; }'`)
	before := run(t, "nft list ruleset")
	set(t, newGuard(t), dual())
	removed, err := Remove()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"nftables chain inet other c: 4 rules", "nftables table inet warren-mesh"}
	if d := cmp.Diff(want, removed); d != "" {
		t.Errorf("removed (-want +got):\n%s", d)
	}
	if d := cmp.Diff(before, run(t, "nft list ruleset")); d != "" {
		t.Errorf("after Remove (-before +after):\n%s", d)
	}
	if removed, err := Remove(); err != nil || len(removed) != 0 {
		t.Errorf("the second time: removed %v, error %v", removed, err)
	}
}

// TestOwned meets a firewall whose table belongs to its process alone: it cannot be changed, and the guard stands all the same.
func TestOwned(t *testing.T) {
	namespace(t)
	firewall := exec.Command("timeout", "20", "nft", "-i")
	in, err := firewall.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := firewall.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close() // It ends at the end of its input.
		_ = firewall.Wait()
	}()
	if _, err := in.Write([]byte("table inet o { flags owner; chain f { type filter hook forward priority 0; policy drop; }; }\n")); err != nil {
		t.Fatal(err)
	}
	run(t, "until nft list chain inet o f 2> /dev/null; do sleep 0.01; done")
	g := newGuard(t)
	for range 2 {
		if err := g.Set(dual()); !errors.Is(err, ErrOthers) {
			t.Fatalf("error %v, want ErrOthers", err)
		}
	}
	if whole := run(t, list); !strings.Contains(whole, `counter name "clear" drop`) {
		t.Errorf("the guard is not there:\n%s", whole)
	}
}
