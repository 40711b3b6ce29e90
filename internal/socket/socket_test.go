package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/mesh"
)

type backend struct {
	status Status
	peers  []Peer
	plan   mesh.Plan
	err    error
}

func (b backend) IPAM() (IPAM, error) {
	return IPAM{Node: b.status.Node, Uses: []ipam.Use{{Size: 253, Leased: 1}}}, b.err
}

func (b backend) CheckIPAM() ([]survey.Finding, error) {
	return []survey.Finding{{About: "10.244.1.2", Problem: "leaked", Do: "release it"}}, b.err
}

func (b backend) Release(r Release) (Released, error) {
	return Released{From: fmt.Sprint(r.Address, " by force ", r.Force)}, b.err
}

func (b backend) Explain(q Question) (Explained, error) {
	return Explained{Words: q.From + " " + q.To + " " + q.Port}, b.err
}

func (b backend) ShowPolicy(pod string) (PolicyOfPod, error) {
	return PolicyOfPod{Pod: pod, Node: b.status.Node}, b.err
}

func (b backend) PreviewPolicy() (Previews, error) { return Previews{Node: b.status.Node}, b.err }

// Drops says in Gone how long it may wait, in seconds.
func (b backend) Drops(ctx context.Context, after uint64) (Drops, error) {
	d := Drops{Next: after}
	if until, may := ctx.Deadline(); may && ctx.Err() == nil {
		d.Gone = uint64(time.Until(until).Round(time.Second).Seconds())
	}
	return d, b.err
}

func (b backend) Status() (Status, error) { return b.status, b.err }
func (b backend) Peers() ([]Peer, error)  { return b.peers, b.err }
func (b backend) Plan() mesh.Plan         { return b.plan }

func (b backend) Pods(_ context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	return fmt.Appendf(nil, "%s %s", command, r.ContainerID), b.err
}

// serve starts a server and returns its path and how to stop it.
func serve(t *testing.T, b Backend) (path string, stop func() error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "warren", "agent.sock")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, path, b) }()
	deadline := time.Now().Add(5 * time.Second)
	for {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server did not answer in 5 s:", err)
		}
		time.Sleep(time.Millisecond) // Polling a socket that has no event for its birth.
	}
	return path, func() error { cancel(); return <-done }
}

var someKey = identity.PublicKey{1, 2, 3}

var equal = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func TestRoundTrip(t *testing.T) {
	key := someKey
	prefix := netip.MustParsePrefix("10.244.1.0/24")
	want := backend{
		status: Status{Node: "n1", Ready: true, PublicKey: key, PodCIDRs: []netip.Prefix{prefix}, Waiting: []string{"n2"}},
		peers: []Peer{{Node: "n2", PublicKey: key, Endpoint: netip.MustParseAddrPort("[fd30::2]:51820"),
			AllowedIPs: []netip.Prefix{prefix}, LastHandshake: time.Unix(1000, 0).UTC()}, {Node: "n3", PublicKey: key}},
		plan: mesh.Plan{Node: "n1", Routes: []*mesh.Route{{Destination: prefix, Device: "warren0", Source: netip.MustParseAddr("10.244.0.1")},
			{Destination: prefix, Metric: mesh.UnreachableMetric}}},
	}
	path, stop := serve(t, want)
	client := NewClient(path)
	status, err := client.Status(t.Context())
	if diff := cmp.Diff(want.status, status, equal); err != nil || diff != "" {
		t.Errorf("status: %v\n%s", err, diff)
	}
	peers, err := client.Peers(t.Context())
	if diff := cmp.Diff(want.peers, peers, equal); err != nil || diff != "" {
		t.Errorf("peers: %v\n%s", err, diff)
	}
	plan, err := client.Plan(t.Context())
	if diff := cmp.Diff(want.plan, plan, equal); err != nil || diff != "" {
		t.Errorf("plan: %v\n%s", err, diff)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestOnlyRootMayOpen(t *testing.T) {
	path, stop := serve(t, backend{})
	defer func() { _ = stop() }()
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v (%v), want %v", filepath.Base(name), info.Mode(), err, want)
		}
	}
}

func TestALiveSocketIsNotTaken(t *testing.T) {
	path, stop := serve(t, backend{status: Status{Node: "first", PublicKey: someKey}})
	if err := Serve(t.Context(), path, backend{}); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("second server: %v, want a refusal", err)
	}
	status, err := NewClient(path).Status(t.Context())
	if err != nil || status.Node != "first" {
		t.Errorf("the first server's status: %+v, %v", status, err)
	}
	_ = stop()
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path, stop := serve(t, backend{})
	_ = stop()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("the socket's file should outlive its agent:", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, path, backend{status: Status{Node: "second", PublicKey: someKey}}) }()
	client := NewClient(path)
	for range 500 {
		if status, err := client.Status(t.Context()); err == nil {
			if status.Node != "second" {
				t.Errorf("node %q, want second", status.Node)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			return
		}
		time.Sleep(10 * time.Millisecond) // Polling, as above.
	}
	t.Fatal("the second server never answered")
}

func TestErrorsReachTheUser(t *testing.T) {
	path, stop := serve(t, backend{err: errors.New("reading the WireGuard device: no such device")})
	_, err := NewClient(path).Peers(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("error %v, want the backend's", err)
	}
	_ = stop()
	if _, err = NewClient(path + ".none").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is warrend running") {
		t.Errorf("error %v, want a hint", err)
	}
}
