package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

var soakFor = flag.Duration("soak.for", 30*time.Second, "how long TestSoak lasts")

const (
	// soakNodes are there from the beginning to the end. soakQuiet of them have the pairs that nothing disturbs: only their agents are
	// restarted, except for the first one's, which lives on to be looked at.
	soakNodes = 8
	soakQuiet = 4
	// soakGuests is how many more nodes may be there at a time, soakPods how many pods a node may have.
	soakGuests = 2
	soakPods   = 8
	// soakReach is how long a new pod may take to be reached.
	soakReach = 10 * time.Second
)

// soak is a lab under churn.
type soak struct {
	*scene
	r      *rand.Rand
	lives  lives
	pods   int // ever added
	counts map[string]int
}

// TestSoak keeps 8 nodes under churn and traffic: pods and nodes come and go, agents are restarted and killed. Pairs that this does not
// disturb lose nothing, nothing is in clear, and no process grows.
func TestSoak(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx := t.Context()
	s := &soak{
		scene: newScene(ctx, t, lab.Options{Nodes: soakNodes, PodFamilies: lab.Dual}),
		r:     rand.New(rand.NewPCG(seed, 0)),
		lives: lives{}, counts: map[string]int{},
	}
	s.meshed(ctx, t)
	streams := map[string]*lab.Stream{}
	for _, pair := range [][2]string{{"n1", "n2"}, {"n3", "n4"}, {"n1", "n3"}, {"n2", "n4"}} {
		stream, err := s.pod(pair[0]).Stream(ctx, s.pod(pair[1]).Address(true), 5*time.Millisecond, 200)
		if err != nil {
			t.Fatal(err)
		}
		streams[pair[0]+" to "+pair[1]] = stream
	}
	bulk := s.bulk(ctx)
	start := time.Now()
	looked := time.Time{}
	for every := max(time.Second, *soakFor/200); time.Since(start) < *soakFor; pause(ctx, 200*time.Millisecond) {
		if err := s.churn(ctx); err != nil {
			t.Errorf("%s after the start: %v", time.Since(start).Round(time.Second), err)
			break
		}
		if time.Since(looked) > every {
			looked = time.Now()
			for _, n := range s.Nodes() {
				s.lives.look(ctx, t, n)
			}
		}
	}
	exchanged, err := bulk()
	if err != nil {
		t.Errorf("TCP between pairs that nothing disturbs: %v", err)
	}
	for pair, stream := range streams {
		result := stream.Stop()
		t.Logf("from %s: %s", pair, result)
		if result.Lost != 0 || result.Received == 0 {
			t.Errorf("from %s: %s, want none lost", pair, result)
		}
	}
	t.Logf("%s of churn: %v; %d exchanges over TCP", time.Since(start).Round(time.Second), s.counts, exchanged)
	s.grown(t)
	s.sealed(ctx, t)
}

// grown fails the test where a process did, and tells of those that lived longest.
func (s *soak) grown(t *testing.T) {
	t.Helper()
	all := s.lives.growths()
	if len(all) == 0 {
		t.Error("no process lived long enough to be asked whether it grew")
	}
	for _, g := range all {
		for i, m := range measures {
			if g.node == "n1" && g.early[i] > 0 {
				t.Logf("%s: %s from %.4g to %.4g in %d looks", g.process, m.name, g.early[i], g.late[i], g.looks)
			}
		}
		for _, text := range g.grown() {
			t.Error(text)
		}
	}
	t.Logf("%d processes were asked whether they grew", len(all))
}

// churn does one thing to the cluster and waits until it has worked.
func (s *soak) churn(ctx context.Context) error {
	nodes := s.Nodes()
	busy := nodes[soakQuiet:soakNodes]
	n := busy[s.r.IntN(len(busy))]
	guests := nodes[soakNodes:]
	switch choice := s.r.IntN(20); {
	case choice < 12 && len(n.Pods()) < 2 || choice < 6 && len(n.Pods()) < soakPods:
		s.counts["pods added"]++
		_, err := s.newPod(ctx, n)
		return err
	case choice < 12:
		s.counts["pods removed"]++
		pods := n.Pods()
		return pods[1+s.r.IntN(len(pods)-1)].Remove()
	case choice < 17:
		return s.restart(ctx, nodes[1+s.r.IntN(soakNodes-1)])
	case choice < 19 && len(guests) < soakGuests:
		s.counts["nodes joined"]++
		return s.join(ctx)
	case len(guests) > 0:
		s.counts["nodes left"]++
		return s.DeleteNode(ctx, guests[s.r.IntN(len(guests))].Name)
	}
	return nil
}

// newPod adds a pod that the first node's pod soon reaches.
func (s *soak) newPod(ctx context.Context, n *lab.Node) (*lab.Pod, error) {
	s.pods++
	pod, err := n.AddPod(ctx, fmt.Sprintf("s%d", s.pods))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(soakReach))
	defer cancel()
	for {
		var errs []error
		for _, addr := range pod.Addresses {
			errs = append(errs, quickPing(ctx, &s.pod("n1").Host, addr))
		}
		err := errors.Join(errs...)
		if err == nil || ctx.Err() != nil {
			return pod, err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// restart stops or kills an agent, and starts it again.
func (s *soak) restart(ctx context.Context, n *lab.Node) error {
	if s.r.IntN(2) == 0 {
		s.counts["agents killed"]++
		return errors.Join(n.KillAgent(), n.StartAgent(ctx), n.WaitReady(ctx))
	}
	s.counts["agents restarted"]++
	return errors.Join(n.StopAgent(ctx), n.StartAgent(ctx), n.WaitReady(ctx))
}

// join adds a node with a pod.
func (s *soak) join(ctx context.Context) error {
	n, err := s.AddNode(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(s.capture.Control(ctx, n), n.StartAgent(ctx), n.WaitReady(ctx)); err != nil {
		return err
	}
	_, err = s.newPod(ctx, n)
	return err
}

// bulk moves 100 KB there and back over TCP, again and again, between the quiet pods, until the function that it returns is called:
// that says how often, and what failed.
func (s *soak) bulk(ctx context.Context) func() (int, error) {
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex // guards count and errs
		count int
		errs  []error
		stop  = make(chan struct{})
	)
	for i := range soakQuiet {
		from := s.pod(fmt.Sprintf("n%d", 1+i))
		to := s.pod(fmt.Sprintf("n%d", 1+(i+1)%soakQuiet))
		wait.Go(func() {
			for {
				err := from.Reach(ctx, to.Address(i%2 == 0), "tcp", 100_000)
				mu.Lock()
				count++
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
				select {
				case <-stop:
					return
				case <-time.After(250 * time.Millisecond):
				}
			}
		})
	}
	return func() (int, error) {
		close(stop)
		wait.Wait()
		return count, errors.Join(errs...)
	}
}
