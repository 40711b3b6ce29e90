package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/mesh"
)

// TestANodeJoins: traffic to a new node's pods within 2 s of its Node's annotations.
func TestANodeJoins(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n3, err := s.AddNode(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.prove(ctx, t, n3)
	pod := s.addPod(ctx, t, n3, "p1")
	if err := n3.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 30*time.Second, func() error {
		node, err := s.Cluster().Admin().CoreV1().Nodes().Get(ctx, n3.Name, metav1.GetOptions{})
		if err == nil && node.Annotations[mesh.AnnotationPublicKey] == "" {
			err = errors.New("not published")
		}
		return err
	})
	took := eventually(ctx, t, 2*time.Second, func() error {
		_, err := lab.Matrix(ctx, lab.PodHosts(s.Pods()), pod.Addresses, func(ctx context.Context, from *lab.Host, to netip.Addr) error {
			return from.Ping(ctx, to, lab.PingOptions{Timeout: 200 * time.Millisecond})
		})
		return err
	})
	t.Logf("traffic to the new node's pods %s after its annotations were seen", took)
	s.sealed(ctx, t)
}

// TestANodeIsDeleted: its peer and routes are gone within 1 s, its pods unreachable, the others undisturbed.
func TestANodeIsDeleted(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	gone, n1 := s.Node("n3"), s.Node("n1")
	stream := s.stream(ctx, t, "n1", "n2")
	key := publicKey(ctx, t, gone)
	goneAddresses := gone.Pod("p1").Addresses
	if err := s.DeleteNodeObject(ctx, gone.Name); err != nil {
		t.Fatal(err)
	}
	took := eventually(ctx, t, time.Second, func() error {
		state, err := n1.Run(ctx, "sh", "-c", "wg show warren0 peers; ip route show table all; ip -6 route show table all; nft list ruleset")
		if err != nil {
			return err
		}
		for _, left := range append([]string{key}, prefixTexts(gone.PodCIDRs)...) {
			if strings.Contains(state, left) {
				return fmt.Errorf("%s is still there", left)
			}
		}
		return nil
	})
	t.Logf("peer, routes and guard entries gone %s after the deletion", took)
	for _, to := range goneAddresses {
		unreachableAtOnce(ctx, t, &s.pod("n1").Host, to)
	}
	if result := stream.Stop(); result.Lost != 0 || result.Sent == 0 {
		t.Errorf("between the others: %s, want none lost", result)
	}
	s.sealed(ctx, t)
}

func prefixTexts(prefixes []netip.Prefix) []string {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		texts[i] = p.String()
	}
	return texts
}

// TestAnUnderlayAddressChanges: traffic goes on within 3 s of the change itself, and 10 s before the Node's status follows.
func TestAnUnderlayAddressChanges(t *testing.T) {
	for _, underlay := range []lab.Families{lab.IPv4, lab.IPv6} {
		t.Run(string(underlay), func(t *testing.T) {
			ctx := testContext(t)
			s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual, UnderlayFamilies: underlay})
			s.meshed(ctx, t)
			n2 := s.Node("n2")
			changed := netip.MustParseAddr("172.30.0.99")
			if underlay == lab.IPv6 {
				changed = netip.MustParseAddr("fd30::99")
			}
			talk := func() error {
				for _, other := range []string{"n1", "n3"} {
					for _, pair := range [][2]*lab.Pod{{s.pod(other), s.pod("n2")}, {s.pod("n2"), s.pod(other)}} {
						o := lab.PingOptions{Timeout: 150 * time.Millisecond}
						if err := pair[0].Ping(ctx, pair[1].Address(true), o); err != nil {
							return err
						}
					}
				}
				return nil
			}
			start := time.Now()
			if err := s.SetUnderlayAddress(n2, changed); err != nil {
				t.Fatal(err)
			}
			took := eventually(ctx, t, 3*time.Second-pace.Since(start), talk)
			t.Logf("traffic both ways %s after the change", took)
			// For as long as kubelet takes to notice, the mesh must hold without it.
			for time.Since(start) < 10*time.Second {
				if err := talk(); err != nil {
					t.Fatalf("%s after the change: %v", time.Since(start), err)
				}
				time.Sleep(100 * time.Millisecond) // A sample of the 10 s, not a wait for an event.
			}
			if err := s.SetNodeAddresses(ctx, n2, changed); err != nil {
				t.Fatal(err)
			}
			want := netip.AddrPortFrom(changed, 51820).String()
			eventually(ctx, t, 5*time.Second, func() error {
				node, err := s.Cluster().Admin().CoreV1().Nodes().Get(ctx, "n2", metav1.GetOptions{})
				if err == nil && node.Annotations[mesh.AnnotationEndpoints] != want {
					err = fmt.Errorf("endpoints %q, want %q", node.Annotations[mesh.AnnotationEndpoints], want)
				}
				return err
			})
			if err := talk(); err != nil {
				t.Error(err)
			}
			s.sealed(ctx, t)
		})
	}
}
