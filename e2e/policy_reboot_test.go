package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/policy"
)

// policyReboot: a node comes up without the API server. Pods that it knew have their policies at once, one that it did not know waits.
func (s *scene) policyReboot(ctx context.Context, t *testing.T) {
	n2 := s.Node("n2")
	s.apply(ctx, t, np("x", "c", "podSelector: {matchLabels: {app: c}}\ningress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]")+
		np("z", "d", "podSelector: {matchLabels: {app: d}}\npolicyTypes: [Egress]\negress: [{to: [{podSelector: {matchLabels: {app: e}}}], ports: [{port: 7}]}]")+
		np("z", "new", "podSelector: {matchLabels: {app: new}}\ningress: [{from: [{podSelector: {matchLabels: {app: e}}}]}]"))
	known := []string{"b,d,e>c", "d>a,b,c", "d>e/tcp8,udp,sctp,icmp"}
	s.reach(ctx, t, known...)
	if s.network == nil {
		s.saved(ctx, t, n2, 2)
	}
	s.checkpointed(ctx, t, n2, policy.PodKey{Namespace: "x", Name: "c"}, policy.PodKey{Namespace: "z", Name: "d"})
	if err := n2.Schedule(ctx, lab.PodOptions{Namespace: "z", Name: "new", Labels: map[string]string{"app": "new"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Cluster().StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := s.Reboot(n2); err != nil {
		t.Fatal(err)
	}
	if s.network != nil {
		s.network(ctx, t, n2)
	}
	if err := n2.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ namespace, name string }{{"x", "c"}, {"z", "d"}} {
		pod, err := s.startAgain(ctx, n2, p.namespace, p.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := pod.EchoAlso(otherPort); err != nil {
			t.Fatal(err)
		}
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := s.startAgain(ctx, n2, "z", "new")
		for err != nil && ctx.Err() == nil { // as kubelet does, to which waiting is failing
			_, err = s.startAgain(ctx, n2, "z", "new")
		}
		waiting <- err
	}()
	s.reachAmong(ctx, t, []string{"a,b,c,d,e>a,b,c,d,e"}, known)
	select {
	case err := <-waiting:
		t.Fatalf("a pod that the node did not know came up without the API server (error %v)", err)
	case <-time.After(time.Second):
	}
	if err := s.Cluster().StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n2.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	s.reachAmong(ctx, t, []string{"a,b,c,d,e>a,b,c,d,e", "a,d,e,n2>new/tcp,udp,sctp,icmp"}, append(known, "a,d>new"))
}

// startAgain starts a pod whose object is there.
func (s *scene) startAgain(ctx context.Context, n *lab.Node, namespace, name string) (*lab.Pod, error) {
	return n.AddPodLike(ctx, lab.PodOptions{Namespace: namespace, Name: name})
}

// checkpointed waits until the rules of some pods are on a node's disk.
func (s *scene) checkpointed(ctx context.Context, t *testing.T, n *lab.Node, pods ...policy.PodKey) {
	t.Helper()
	store := checkpoint.NewPolicy(n.StateDir(), n.Name)
	eventually(ctx, t, 20*time.Second, func() error {
		rules, err := store.Load()
		if err != nil {
			return err
		}
		for _, b := range rules.Pods {
			pods = slices.DeleteFunc(pods, func(k policy.PodKey) bool { return k == b.PodKey && (b.Ingress != "" || b.Egress != "") })
		}
		if len(pods) > 0 {
			return fmt.Errorf("the rules of %v are not on disk", pods)
		}
		return nil
	})
}
