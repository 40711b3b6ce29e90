package e2e

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestWithoutADevice: a node whose daemon is stopped and whose device is gone. Its own pods are told at once; the others' packets
// to it go nowhere; and nothing is in clear, though every node has a default route over the captured underlay.
func TestWithoutADevice(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n2 := s.Node("n2")
	if err := n2.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, &n2.Host, "", "ip", "link", "delete", "warren0")
	for _, to := range append(s.pod("n1").Addresses, s.pod("n3").Addresses...) {
		unreachableAtOnce(ctx, t, &s.pod("n2").Host, to)
		refusedAtOnce(ctx, t, &n2.Host, to)
	}
	for _, from := range []*lab.Host{&s.pod("n1").Host, &s.Node("n3").Host} {
		notReached(ctx, t, from, s.pod("n2"))
	}
	s.sealed(ctx, t)
}

// notReached sends to a pod of a node without a device. It cannot arrive; the capture shows that it is not in clear.
func notReached(ctx context.Context, t *testing.T, from *lab.Host, to *lab.Pod) {
	t.Helper()
	for _, addr := range to.Addresses {
		if err := from.Ping(ctx, addr, lab.PingOptions{Timeout: 300 * time.Millisecond}); err == nil {
			t.Errorf("%s still reaches %s of a node without a device", from.Name, addr)
		}
		_ = from.Reach(ctx, addr, "udp", 100)
	}
}

// TestNeverPublished: a node whose daemon runs and never reaches the API server. Nobody has it as a peer and it has nobody.
func TestNeverPublished(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual}, "n3")
	n3 := s.Node("n3")
	kubeconfig := filepath.Join(n3.StateDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(nowhere), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n3.StartAgent(ctx, "--kubeconfig", kubeconfig); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error {
		_, err := n3.Run(ctx, "nft", "list", "table", "inet", "warren-mesh")
		return err
	})
	pods := s.pod("n3")
	eventually(ctx, t, 10*time.Second, func() error { return quickPing(ctx, &s.pod("n1").Host, s.pod("n2").Address(true)) })
	for _, to := range append(s.pod("n1").Addresses, s.Node("n1").MeshAddresses...) {
		unreachableAtOnce(ctx, t, &pods.Host, to)
		refusedAtOnce(ctx, t, &n3.Host, to)
	}
	for _, to := range pods.Addresses {
		unreachableAtOnce(ctx, t, &s.pod("n1").Host, to)
		refusedAtOnce(ctx, t, &s.Node("n2").Host, to)
	}
	s.sealed(ctx, t)
}

// nowhere is a kubeconfig of an API server that does not answer.
const nowhere = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://172.30.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

// unreachableAtOnce wants an ICMP error in answer to a pod's ping, at once. It asks up to three times: the kernel limits the errors
// that it sends to one host (icmp_ratelimit; one error of a route costs two seconds' worth of it), and the scenario may have used
// that up.
func unreachableAtOnce(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr) {
	t.Helper()
	var err error
	for range 3 {
		err = from.Ping(ctx, to, lab.PingOptions{Timeout: 500 * time.Millisecond})
		if unreachable := new(lab.Unreachable); errors.As(err, &unreachable) {
			return
		}
		time.Sleep(2 * time.Second) // The kernel's limit is a matter of time alone.
	}
	t.Errorf("%s to %s: %v, want an ICMP error", from.Name, to, err)
}

// refusedAtOnce wants the node's own kernel to refuse.
func refusedAtOnce(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr) {
	t.Helper()
	err := from.Ping(ctx, to, lab.PingOptions{Timeout: time.Second})
	if !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("%s to %s: %v, want its kernel to say that there is no route", from.Name, to, err)
	}
}
