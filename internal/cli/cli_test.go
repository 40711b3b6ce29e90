package cli

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/mesh"
)

// agent answers the command line as warrend would.
type agent struct {
	status socket.Status
	peers  []socket.Peer
	plan   mesh.Plan
	err    error

	ipam     socket.IPAM
	findings []survey.Finding
	policies policies
}

func (a agent) Status() (socket.Status, error) { return a.status, a.err }
func (a agent) Peers() ([]socket.Peer, error)  { return a.peers, a.err }
func (a agent) Plan() mesh.Plan                { return a.plan }

func (a agent) Pods(context.Context, cni.Command, cni.Request) ([]byte, error) { return nil, a.err }

// serve runs the agent on a socket of its own until the test ends, and returns the socket's path.
func serve(t *testing.T, a agent) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", "agent.sock")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- socket.Serve(ctx, path, a) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) { // nothing tells of a socket's birth
		if _, err := socket.NewClient(path).Plan(ctx); err == nil {
			return path
		} else if time.Now().After(deadline) {
			t.Fatal("the agent did not answer in 5 s:", err)
		}
	}
}

// warren runs the command line and returns what it wrote.
func warren(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// sample is a node with a peer that has called, one that has not, and a key that nobody knows.
func sample() agent {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	return agent{
		status: socket.Status{
			Node: "n1", Version: "v0.1.0", Mode: "full", Policy: true, Ready: true, Implementation: "userspace", Interface: "warren0", PublicKey: identity.PublicKey{1},
			ListenPort: 51820, MTU: 1420, Peers: 2, PodCIDRs: []netip.Prefix{prefix("10.244.1.0/24"), prefix("fd00:244:0:1::/64")},
			MeshAddresses: []netip.Addr{addr("10.244.1.1"), addr("fd00:244:0:1::1")}, StoppedPackets: 3, StoppedBytes: 2520,
		},
		peers: []socket.Peer{
			{PublicKey: identity.PublicKey{4}},
			{
				Node: "n2", PublicKey: identity.PublicKey{2}, Endpoint: netip.MustParseAddrPort("[2001:db8::2]:51820"),
				AllowedIPs:    []netip.Prefix{prefix("10.244.2.0/24"), prefix("fd00:244:0:2::/64")},
				LastHandshake: noon.Add(-65 * time.Second), ReceiveBytes: 1536, TransmitBytes: 3 << 20,
			},
			{Node: "n3", PublicKey: identity.PublicKey{3}, AllowedIPs: []netip.Prefix{prefix("10.244.3.0/24")}},
		},
		plan: mesh.Plan{
			Node: "n1",
			Lanes: []mesh.Lane{{Name: "warren0", PublicKey: identity.PublicKey{1}, ListenPort: 51820, MTU: 1420,
				Peers: []*mesh.Peer{{Node: "n2", PublicKey: identity.PublicKey{2}, AllowedIPs: []netip.Prefix{prefix("10.244.2.0/24")}}}}},
			Routes: []*mesh.Route{{Destination: prefix("10.244.0.0/16"), Metric: mesh.UnreachableMetric}},
		},
	}
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestErrors are the texts of what goes wrong before anything can be shown.
func TestErrors(t *testing.T) {
	nobody := filepath.Join(t.TempDir(), "agent.sock")
	failing := serve(t, agent{err: errors.New("reading the WireGuard device: no such device")})
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"format", []string{"status", "--output", "yaml", "--socket", nobody}, `--output "yaml": want text or json`},
		{"format of peers", []string{"peers", "-o", "yaml", "--socket", nobody}, `--output "yaml": want text or json`},
		{"format of the plan", []string{"plan", "-o", "", "--socket", nobody}, `--output "": want text or json`},
		{"no agent", []string{"status", "--socket", nobody}, "is warrend running on this node, and are you root?"},
		{"no agent for peers", []string{"peers", "--socket", nobody}, "is warrend running on this node, and are you root?"},
		{"no agent for the plan", []string{"plan", "--socket", nobody}, "is warrend running on this node, and are you root?"},
		{"agent's own trouble", []string{"peers", "--socket", failing}, "could not tell its peers: reading the WireGuard device: no such device"},
		{"uninstall beside an agent", []string{"uninstall", "--socket", serve(t, sample())}, "warrend is running on this node"},
		{"uninstall beside an agent in trouble", []string{"uninstall", "--socket", failing}, "warrend may be running on this node"},
		{"no such command", []string{"restart"}, `unknown command "restart"`},
		{"too much", []string{"status", "n2"}, `unknown command "n2" for "warren status"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := warren(t, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if out != "" {
				t.Errorf("it wrote %q all the same", out)
			}
		})
	}
}
