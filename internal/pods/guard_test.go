package pods

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// admitted are the hardware addresses that the guard holds, each with its link, in order.
func admitted(tb testing.TB) []string {
	tb.Helper()
	out, err := exec.Command("nft", "list", "set", "inet", "warren-mesh", "podmacs").CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	_, list, _ := strings.Cut(string(out), "elements = {")
	var found []string
	for word := range strings.SplitSeq(strings.NewReplacer("}", "", `"`, "", "\n", "").Replace(list), ",") {
		if word = strings.TrimSpace(word); word != "" {
			found = append(found, word)
		}
	}
	return slices.Sorted(slices.Values(found))
}

func in(s *sandbox, command ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"--net=" + s.path()}, command...)...).CombinedOutput()
	return string(out), err
}

// TestGuarded: each interface of a pod is held to its hardware address, from its ADD to its DEL, by whichever agent.
func TestGuarded(t *testing.T) {
	n := newNode(t, cidr4, "fd00:10:244:3::/64")
	n.start(t, -1, 0)
	n.ready(t)
	tool, list := n.network(t, "1.0.0")
	honest, hostile := n.sandbox(t, "honest"), n.sandbox(t, "hostile")
	defer honest.close()
	defer hostile.close()
	if err := n.add(honest); err != nil {
		t.Fatal(err)
	}
	want := admitted(t)
	var sources []net.IP
	for _, iface := range []string{"eth0", "net1"} {
		added, err := tool.AddNetworkList(t.Context(), list, hostile.conf(iface))
		if err != nil {
			t.Fatal(err)
		}
		result, err := types100.NewResultFromResult(added)
		if err != nil {
			t.Fatal(err)
		}
		for _, ip := range result.IPs {
			sources = append(sources, ip.Address.IP)
		}
		want = append(want, result.Interfaces[0].Name+" . "+result.Interfaces[1].Mac)
	}
	slices.Sort(want)
	holds := func(when string) {
		t.Helper()
		if got := admitted(t); !slices.Equal(got, want) {
			t.Errorf("%s: the guard holds %v, want %v", when, got, want)
		}
		reaches(t, honest)
		for _, source := range sources {
			to := []string{"fd00:10:244:3::1", honest.addrs[1].String()}
			if source.To4() != nil {
				to = []string{"10.244.3.1", honest.addrs[0].String()}
			}
			for _, target := range to {
				if out, err := in(hostile, "ping", "-n", "-q", "-c1", "-W2", "-I", source.String(), target); err != nil {
					t.Errorf("%s: from %s to %s: %s", when, source, target, out)
				}
			}
		}
	}
	holds("added")
	n.kill()
	holds("while the agent is away")
	// As an agent left it that did not know of hardware addresses.
	if out, err := exec.Command("nft", "delete", "table", "inet", "warren-mesh").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.start(t, -1, 0)
	n.ready(t)
	holds("after an upgrade")
	for _, words := range []string{"ip link set eth0 address 02:00:00:00:00:66", "ip link set net1 address 02:00:00:00:00:66"} {
		if out, err := in(hostile, strings.Fields(words)...); err != nil {
			t.Fatalf("%s: %v: %s", words, err, out)
		}
	}
	n.start(t, -1, 0) // What it has now is not what it was given.
	n.ready(t)
	if got := admitted(t); !slices.Equal(got, want) {
		t.Errorf("a pod under another hardware address: the guard holds %v, want %v", got, want)
	}
	for _, iface := range []string{"eth0", "net1"} {
		if err := tool.DelNetworkList(t.Context(), list, hostile.conf(iface)); err != nil {
			t.Error(err)
		}
	}
	if err := n.del(honest); err != nil {
		t.Error(err)
	}
	if got := admitted(t); len(got) > 0 {
		t.Errorf("after DEL the guard holds %v", got)
	}
	n.empty(t)
}
