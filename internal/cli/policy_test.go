package cli

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/socket"
)

// policies is what the agent answers about policy.
type policies struct {
	explained socket.Explained
	shown     socket.PolicyOfPod
	previews  socket.Previews
	drops     []socket.Drop
}

func (a agent) Explain(q socket.Question) (socket.Explained, error) {
	if q != (socket.Question{From: "x/client", To: "x/web", Port: "http/tcp"}) {
		return socket.Explained{}, errors.New("TO \"web\": want NAMESPACE/POD, an address, or node")
	}
	return a.policies.explained, a.err
}

func (a agent) ShowPolicy(string) (socket.PolicyOfPod, error) { return a.policies.shown, a.err }
func (a agent) PreviewPolicy() (socket.Previews, error)       { return a.policies.previews, a.err }

func (a agent) Drops(ctx context.Context, after uint64) (socket.Drops, error) {
	if after >= uint64(len(a.policies.drops)) {
		<-ctx.Done()
		return socket.Drops{Next: after}, a.err
	}
	return socket.Drops{Drops: a.policies.drops[after:], Next: uint64(len(a.policies.drops))}, a.err
}

func TestPolicyExplain(t *testing.T) {
	words := "x/client (10.0.0.1) to x/web (10.0.0.2), tcp 80: allowed\n"
	for _, c := range []struct {
		name    string
		answer  socket.Explained
		want    string
		wantErr string
	}{
		{"allowed", socket.Explained{Allowed: true, Words: words}, words, ""},
		{"denied", socket.Explained{Denied: true, Words: words, Behind: "the kernel holds what it held before"},
			words + "careful: the kernel holds what it held before\n", "denied"},
		{"in part", socket.Explained{Words: words}, words, "denied in part"},
	} {
		got, err := warren(t, "policy", "explain", "x/client", "x/web", "http/tcp", "--socket", serve(t, agent{policies: policies{explained: c.answer}}))
		if got != c.want || (err == nil) != (c.wantErr == "") || err != nil && err.Error() != c.wantErr {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	index := 1
	got, err := warren(t, "policy", "explain", "x/client", "x/web", "http/tcp", "-o", "json", "--socket", serve(t, agent{policies: policies{
		explained: socket.Explained{Allowed: true, Words: "words\n", Paths: []socket.Path{{
			From: netip.MustParseAddr("10.0.0.1"), To: netip.MustParseAddr("10.0.0.2"), Protocol: "tcp", Port: 80, Allowed: true,
			Egress:  socket.Verdict{Pod: "x/client", Allowed: true, Why: "no policy selects it"},
			Ingress: socket.Verdict{Pod: "x/web", Allowed: true, Rule: &socket.Rule{Tier: "NetworkPolicy", Namespace: "x", Policy: "web", Index: &index}, Why: "why"},
		}}},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "explain.json", got)
}

func TestPolicyShow(t *testing.T) {
	shown := socket.PolicyOfPod{Pod: "x/web", Node: "n1", Policies: "x/web (10.0.0.2)\n", Kernel: "table inet warren-policy {\n}\n", Local: true}
	got, err := warren(t, "policy", "show", "x/web", "--socket", serve(t, agent{policies: policies{shown: shown}}))
	if want := "x/web (10.0.0.2)\n\nin the kernel of n1:\ntable inet warren-policy {\n}\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	shown.Local = false
	got, err = warren(t, "policy", "show", "x/web", "--socket", serve(t, agent{policies: policies{shown: shown}}))
	if want := "x/web (10.0.0.2)\n\nit has no rules on n1: what the kernel holds for it is shown on its own node\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
}

func someEnds() (from, to socket.End) {
	return socket.End{Pod: "x/client", Address: netip.MustParseAddr("fd00::1"), Port: 40000}, socket.End{Address: netip.MustParseAddr("192.0.2.1"), Port: 53}
}

func TestPolicyPreview(t *testing.T) {
	from, to := someEnds()
	index := 0
	answer := socket.Previews{Node: "n1", Flows: 7, Unjudged: 2, Policies: []socket.Preview{
		{Kind: "NetworkPolicy", Namespace: "x", Policy: "later", Cuts: []socket.Cut{{
			From: from, To: to, Protocol: "udp", Direction: "egress", Pod: "x/client", Rule: socket.Rule{Tier: "NetworkPolicy", Namespace: "x", Policy: "later"},
		}, {
			From: to, To: from, Protocol: "tcp", Direction: "ingress", Pod: "x/client", Rule: socket.Rule{Tier: "NetworkPolicy"},
		}}},
		{Kind: "ClusterNetworkPolicy", Policy: "nodes", Cuts: []socket.Cut{{
			From: from, To: to, Protocol: "udp", Direction: "egress", Pod: "x/client", Rule: socket.Rule{Tier: "Admin", Policy: "nodes", Index: &index, Name: "none"},
		}}},
		{Kind: "ClusterNetworkPolicy", Policy: "other"},
	}}
	got, err := warren(t, "policy", "preview", "--socket", serve(t, agent{policies: policies{previews: answer}}))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "preview.txt", got)
	got, err = warren(t, "policy", "preview", "--socket", serve(t, agent{}))
	if want := "no policy is previewed: annotate one with warren.dev/stage: preview\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPolicyDrops(t *testing.T) {
	from, to := someEnds()
	index := 2
	drop := socket.Drop{Time: noon, From: from, To: to, Protocol: "udp", Direction: "egress", Pod: "x/client", Interface: "wrp1", Reason: "rule"}
	var all []socket.Drop
	for i, change := range []func(*socket.Drop){
		func(d *socket.Drop) {
			d.Rule = &socket.Rule{Tier: "Admin", Policy: "nodes", Index: &index, Name: "none"}
		},
		func(d *socket.Drop) {
			d.Reason, d.Rule = "isolated", &socket.Rule{Tier: "NetworkPolicy", Namespace: "x", Policy: "a"}
		},
		func(d *socket.Drop) {
			d.Reason, d.Rule, d.IsolatedBy, d.Missed = "isolated", &socket.Rule{Tier: "NetworkPolicy"}, []string{"x/a", "x/b"}, 3
		},
		func(d *socket.Drop) { d.Reason, d.Pod = "no rules yet", "" },
		func(d *socket.Drop) { d.Reason, d.Pod, d.Direction = "revoked", "", "" },
		func(d *socket.Drop) { d.Reason, d.Pod, d.Direction = "past rule", "", "" },
	} {
		d := drop
		change(&d)
		d.Number, d.Time = uint64(i+1), noon.Add(time.Duration(i)*time.Millisecond)
		all = append(all, d)
	}
	path := serve(t, agent{policies: policies{drops: all}})
	got, err := warren(t, "policy", "drops", "--socket", path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "drops.txt", got)
	got, err = warren(t, "policy", "drops", "-o", "json", "--socket", path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "drops.json", got)
}

// TestPolicyDropsFollow goes on after the first answer, until it is interrupted.
func TestPolicyDropsFollow(t *testing.T) {
	path := serve(t, agent{policies: policies{drops: []socket.Drop{{Number: 1, Reason: "no rules yet"}}}})
	ctx, stop := context.WithCancel(t.Context())
	shown := 0
	err := showDrops(ctx, socket.NewClient(path), true, func(socket.Drop) error {
		shown++
		time.AfterFunc(50*time.Millisecond, stop)
		return nil
	}, t.Output())
	if err != nil || shown != 1 {
		t.Errorf("%d were shown, %v", shown, err)
	}
}

func TestPolicyErrors(t *testing.T) {
	nobody := filepath.Join(t.TempDir(), "agent.sock")
	path := serve(t, agent{})
	for want, args := range map[string][]string{
		"is warrend running on this node":                             {"explain", "a/b", "c/d", "80", "--socket", nobody},
		"is warrend running on this node, and":                        {"drops", "--follow", "--socket", nobody},
		"is warrend running on this node, and are":                    {"preview", "--watch", "--socket", nobody},
		"is warrend running on this node, and are you":                {"show", "a/b", "--socket", nobody},
		`--output "yaml": want text or json`:                          {"drops", "-o", "yaml", "--socket", path},
		"the agent could not explain: TO \"web\": want NAMESPACE/POD": {"explain", "x/client", "web", "80", "--socket", path},
		"accepts 3 arg(s), received 2":                                {"explain", "a/b", "c/d"},
		"accepts 1 arg(s), received 0":                                {"show"},
	} {
		if out, err := warren(t, append([]string{"policy"}, args...)...); err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%v: %q, error %v, want %q", args, out, err, want)
		}
	}
}

// golden compares with a file of testdata, which WARREN_UPDATE=1 writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("WARREN_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
