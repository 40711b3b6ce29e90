package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/mesh"
)

// The paths between two hosts that are compared.
const (
	warren = "Warren"
	bare   = "bare"
	pods   = "pods"
)

// path is a way from a client to a server that leads through one WireGuard device on each of two nodes.
type path struct {
	name           string
	client, server *lab.Host
	to             netip.Addr // the server's
	nodes          [2]*lab.Node
	cpus           [2]processors // the client's end and the server's
}

// scene is a lab of two nodes with agents and two where everything is done by hand, with a pod on each.
type scene struct {
	*lab.Lab
	warren    path
	baselines []path
	lane      lane
}

// lane is what of Warren's device has to be the same for one made by hand.
type lane struct {
	kernel bool
	mtu    int
}

func newScene(ctx context.Context, o options, out io.Writer) (*scene, error) {
	l, err := lab.Start(ctx, lab.Options{Name: "bench", Nodes: 4, Offload: true, NoAgents: true, NoPolicy: o.noPolicy, Out: out})
	if err != nil {
		return nil, err
	}
	s := &scene{Lab: l}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

func (s *scene) build(ctx context.Context) error {
	n := s.Nodes()
	for _, node := range n[:2] {
		if err := node.StartAgent(ctx); err != nil {
			return err
		}
		if err := node.WaitReady(ctx); err != nil {
			return err
		}
	}
	var err error
	if s.lane, err = findLane(n[0]); err != nil {
		return err
	}
	if err := connect(ctx, n[2], n[3], s.lane); err != nil {
		return err
	}
	ends, err := halves()
	if err != nil {
		return err
	}
	for i, node := range n {
		if err := ends[i%2].takeNode(node); err != nil {
			return err
		}
	}
	var hosts [4]*lab.Host
	for i, node := range n {
		pod, err := node.AddPod(ctx, "p1")
		if err != nil {
			return err
		}
		hosts[i] = &pod.Host
	}
	s.warren = path{warren, hosts[0], hosts[1], hosts[1].Address(true), [2]*lab.Node{n[0], n[1]}, ends}
	s.baselines = []path{
		{bare, &n[2].Host, &n[3].Host, n[3].MeshAddresses[0], [2]*lab.Node{n[2], n[3]}, ends},
		{pods, hosts[2], hosts[3], hosts[3].Address(true), [2]*lab.Node{n[2], n[3]}, ends},
	}
	for _, p := range s.paths() {
		if err := awaitPath(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *scene) paths() []path { return append([]path{s.warren}, s.baselines...) }

// findLane looks at the device that an agent made.
func findLane(n *lab.Node) (found lane, err error) {
	err = n.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("listing the links of %s: %w", n.Name, err)
		}
		for _, link := range links {
			if link.Attrs().Alias == mesh.LaneAlias {
				found = lane{kernel: link.Type() == "wireguard", mtu: link.Attrs().MTU}
				return nil
			}
		}
		return fmt.Errorf("%s has no lane", n.Name)
	})
	return found, err
}

// pathPatience is how long a path may take until it carries a packet.
const pathPatience = 20 * time.Second

func awaitPath(ctx context.Context, p path) error {
	ctx, cancel := context.WithTimeout(ctx, pathPatience)
	defer cancel()
	for {
		err := p.client.Ping(ctx, p.to, lab.PingOptions{Timeout: 500 * time.Millisecond})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for the path %s: %w", p.name, err)
		}
		time.Sleep(20 * time.Millisecond) // the host may refuse at once
	}
}

// setting says what the figures were measured on, in general terms.
func (s *scene) setting(o options) map[string]string {
	implementation := "wireguard-go (userspace)"
	if s.lane.kernel {
		implementation = "kernel"
	}
	policy := "enforced; there are no policies"
	if o.noPolicy {
		policy = "--policy=false"
	}
	return map[string]string{
		"WireGuard": implementation,
		"policy":    policy,
		"kernel":    report.Kernel(),
		"CPUs":      fmt.Sprintf("%d, %s; one half for each end of the paths", runtime.NumCPU(), runtime.GOARCH),
		"MTU":       strconv.Itoa(s.lane.mtu),
		"rounds":    fmt.Sprintf("%d of %s on each path, in turn, every second round backwards", o.rounds, o.duration),
	}
}
