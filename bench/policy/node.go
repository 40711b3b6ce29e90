package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/bench/policy/cluster"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/nft"
)

// noTable is the node that enforces nothing. The others have a table for so many policies.
const noTable = -1

// side is a node with a client and a server on it, and with some number of policies present.
type side struct {
	policies       int
	node           *lab.Node
	client, server *lab.Host
	to             netip.Addr // the server's
	table          *nft.Table // nil where nothing is enforced
}

// sides are a lab of nodes that differ only in how many policies are present.
type sides struct {
	*lab.Lab
	all []*side
}

// newSides makes a node for each number of policies. Conntrack is at work on all of them, as the guard has it.
func newSides(ctx context.Context, numbers []int, out io.Writer) (*sides, error) {
	l, err := lab.Start(ctx, lab.Options{Name: "bench-policy", Nodes: len(numbers), NoControlPlane: true, Offload: true, Out: out})
	if err != nil {
		return nil, err
	}
	s := &sides{Lab: l}
	for i, n := range l.Nodes() {
		made, err := newSide(ctx, n, numbers[i])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("a node with %d policies: %w", numbers[i], err), s.Close())
		}
		s.all = append(s.all, made)
	}
	return s, nil
}

// Close ends the lab, and what is enforced in it.
func (s *sides) Close() error {
	var errs []error
	for _, one := range s.all {
		if one.table != nil {
			errs = append(errs, one.table.Close())
		}
	}
	return errors.Join(append(errs, s.Lab.Close())...)
}

const trackAll = "table inet track { chain forward { type filter hook forward priority -10; ct state invalid drop; }; }"

func newSide(ctx context.Context, n *lab.Node, policies int) (*side, error) {
	for _, command := range [][]string{{"nft", trackAll}, {"sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_close=1"}} {
		if _, err := n.Run(ctx, command[0], command[1:]...); err != nil {
			return nil, err
		}
	}
	client, err := n.AddPodByHand(ctx, "client")
	if err != nil {
		return nil, err
	}
	server, err := n.AddPodByHand(ctx, "server")
	if err != nil {
		return nil, err
	}
	s := &side{policies: policies, node: n, client: &client.Host, server: &server.Host, to: server.Address(true)}
	if policies == noTable {
		return s, nil
	}
	rules := rulesOf(policies, client, server)
	err = n.Do(func() error {
		if s.table, err = nft.New(nft.Options{LogGroup: logGroup}); err != nil {
			return err
		}
		_, err = s.table.Set(rules)
		return err
	})
	if err == nil && (client.Ping(ctx, s.to, lab.PingOptions{Timeout: 500 * time.Millisecond}) == nil) != (policies == 0) {
		err = errors.New("a ping, which no policy allows, passes where there are policies, or does not where there are none")
	}
	return s, err
}

// The pods of the cluster that the client and the server are: what the one may send to the other by its namespace's policies, and on what port.
const (
	clientPod  = 30
	serverPod  = 1
	serverPort = 8000
)

// rulesOf is a node's that has the two pods, and others up to what nodes take. Of the policies ten are of the two pods' namespace; the others are
// of the other pods' namespaces, so that all of them apply to somebody on the node.
func rulesOf(policies int, client, server *lab.Pod) policy.Ruleset {
	c, x := cluster.New(cluster.Locals*cluster.PerNamespace), policy.NewIndex()
	for i := range c.Namespaces {
		x.SetNamespace(c.Namespace(i))
	}
	for number, pod := range map[int]*lab.Pod{clientPod: client, serverPod: server} {
		p := c.Pod(number)
		p.Addresses = pod.Addresses
		x.SetPod(p)
		x.SetLocal(policy.Local{Interface: podnet.HostLink(pod.Namespace, pod.ObjectName, "eth0"), PodKey: p.PodKey, Addresses: p.Addresses})
	}
	for i := range c.Pods {
		if i == clientPod || i == serverPod {
			continue
		}
		x.SetPod(c.Pod(i))
		if i%cluster.PerNamespace == 0 && i > 0 {
			x.SetLocal(c.Local(i))
		}
	}
	for i := range policies {
		namespace := 0
		if i >= perNamespace {
			namespace = 1 + (i-perNamespace)%(c.Namespaces-1)
		}
		p := c.NetworkPolicy(namespace, i)
		p.Spec = c.NetworkPolicy(i/perNamespace, i).Spec // of all namespaces: few are alike
		x.SetPolicy(p)
	}
	x.Take()
	return x.Ruleset()
}

// perNamespace is how many policies the two pods' namespace has.
const perNamespace = 10

// onCPU has f done in a host, on one processor: each end has its own where there are two. What its thread uses is added up.
func onCPU(h *lab.Host, end int, used *float64, f func() error) error {
	return h.Do(func() error {
		if err := pin(end % runtime.NumCPU()); err != nil {
			return err
		}
		before, err := usage(unix.RUSAGE_THREAD)
		if err != nil {
			return err
		}
		err = f()
		after, usageErr := usage(unix.RUSAGE_THREAD)
		*used = after.all - before.all
		return errors.Join(err, usageErr)
	})
}
