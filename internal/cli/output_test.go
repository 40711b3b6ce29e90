package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/mesh"
)

func TestStatus(t *testing.T) {
	want := `node: n1
  version: v0.1.0
  ready: yes
  mode: full
  pod CIDRs: 10.244.1.0/24, fd00:244:0:1::/64
  mesh addresses: 10.244.1.1, fd00:244:0:1::1
interface: warren0 (userspace)
  public key: AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  listening port: 51820
  mtu: 1420
  peers: 2
stopped from leaving in clear: 3 packets, 2.46 KiB
`
	got, err := warren(t, "status", "--socket", serve(t, sample()))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestStatusOfPolicyOnly names the pods on which policy is not enforced.
func TestStatusOfPolicyOnly(t *testing.T) {
	a := agent{status: socket.Status{
		Node: "n1", Version: "v0.1.0", Ready: true, Mode: "policy", Policy: true, PolicedLinks: 3,
		Unpoliced: []string{"x/a: bridge cni0 leads to 10.0.0.5"}, Lacking: []string{"list pods (policy)"},
	}}
	want := `node: n1
  version: v0.1.0
  ready: yes
  mode: policy, on another network's pods
policy is enforced on: 3 pods' links
POLICY IS NOT ENFORCED on: 1 pods
  x/a: bridge cni0 leads to 10.0.0.5
not granted by the API server: list pods (policy)
`
	got, err := warren(t, "status", "--socket", serve(t, a))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	a.status.Ready, a.status.Problem = false, "no nftables"
	if _, err := warren(t, "status", "--socket", serve(t, a)); err == nil || !strings.Contains(err.Error(), "policy is not in the kernel: no nftables") {
		t.Errorf("not ready: %v", err)
	}
}

// TestStatusNotReady writes everything all the same, and fails.
func TestStatusNotReady(t *testing.T) {
	a := agent{status: socket.Status{
		Node: "n1", Version: "devel", Mode: "mesh", PodInterfaces: []string{"cni0", "veth*"}, Interface: "warren0", Implementation: "kernel", PublicKey: sample().status.PublicKey, ListenPort: 51820,
		Waiting: []string{"n4", "n5"}, Refused: []mesh.Refusal{{Node: "n2", Reason: mesh.NotGranted, Detail: "10.9.0.0/24 is not granted"}},
	}}
	want := `node: n1
  version: devel
  ready: no: waiting for the API server
  mode: mesh, for another plugin's pods on cni0, veth*; policy is not enforced
  pod CIDRs: none granted yet
  mesh addresses: none
interface: warren0 (kernel)
  public key: AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  listening port: 51820
  mtu: 0
  peers: 0
waiting for: n4, n5
refused of n2 (NotGranted): 10.9.0.0/24 is not granted
stopped from leaving in clear: 0 packets, 0 B
`
	got, err := warren(t, "status", "--socket", serve(t, a))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err == nil || err.Error() != "the mesh is not programmed: waiting for the API server" {
		t.Errorf("error %v", err)
	}
	a.status.Problem = "programming the guard: permission denied"
	got, err = warren(t, "status", "--socket", serve(t, a))
	if want := "ready: no: " + a.status.Problem + "\n"; !strings.Contains(got, want) {
		t.Errorf("no %q in:\n%s", want, got)
	}
	if err == nil || !strings.Contains(err.Error(), a.status.Problem) {
		t.Errorf("error %v, want the agent's problem", err)
	}
}

func TestPeers(t *testing.T) {
	want := `node: (not in the plan)
  peer: BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  endpoint: (none known: the peer must call first)
  allowed ips: (none)
  latest handshake: never
  transfer: 0 B received, 0 B sent

node: n2
  peer: AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  endpoint: [2001:db8::2]:51820
  allowed ips: 10.244.2.0/24, fd00:244:0:2::/64
  latest handshake: 1m5s ago
  transfer: 1.50 KiB received, 3.00 MiB sent

node: n3
  peer: AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  endpoint: (none known: the peer must call first)
  allowed ips: 10.244.3.0/24
  latest handshake: never
  transfer: 0 B received, 0 B sent

`
	var got bytes.Buffer
	writePeers(&got, sample().peers, noon)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPlan(t *testing.T) {
	want := `# node n1

# ip address show dev warren0
mtu 1420

# wg show warren0
interface: warren0
  public key: AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  listening port: 51820

# node n2
peer: AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  allowed ips: 10.244.2.0/24

# ip route
unreachable 10.244.0.0/16 proto 87 metric 4294967295

# nft list table inet warren-mesh
lanes: 
cluster: (none)
own: (none)
mesh addresses: (none)
`
	got, err := warren(t, "plan", "--socket", serve(t, sample()))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestJSON sees that what programs get is what the agent said, whole.
func TestJSON(t *testing.T) {
	path, all := serve(t, sample()), sample()
	for what, want := range map[string]any{"status": all.status, "peers": all.peers, "plan": all.plan} {
		t.Run(what, func(t *testing.T) {
			text, err := json.MarshalIndent(want, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got, err := warren(t, what, "--output", "json", "--socket", path)
			if diff := cmp.Diff(string(text)+"\n", got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 1536: "1.50 KiB", 1 << 20: "1.00 MiB", 5 << 30: "5.00 GiB", 1 << 40: "1.00 TiB",
		3 << 50: "3072.00 TiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for then, want := range map[time.Time]string{
		{}:                                     "never",
		noon:                                   "0s ago",
		noon.Add(-1400 * time.Millisecond):     "1s ago",
		noon.Add(-2*time.Minute - time.Second): "2m1s ago",
		noon.Add(-30 * time.Hour):              "30h0m0s ago",
	} {
		if got := ago(then, noon); got != want {
			t.Errorf("ago(%s) is %q, want %q", then, got, want)
		}
	}
}
