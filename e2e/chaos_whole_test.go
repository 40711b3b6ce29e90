package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// podNames are the pods of every node.
var podNames = []string{"p1", "p2"}

// wholePatience is how long is looked on after a fault whose time is up, so that the run can go on after a failure.
const wholePatience = time.Minute

// waitWhole waits until the mesh is as it was before the first fault: every pod reaches every pod, every agent is ready, and every
// node's kernel and every claim is what it was.
func (c *chaos) waitWhole(ctx context.Context) error {
	return c.wait(ctx, func(ctx context.Context) error {
		if err := c.connected(ctx); err != nil {
			return err
		}
		return c.asBefore(ctx)
	})
}

// waitConnected waits until every pod reaches every pod, also those of nodes that have joined.
func (c *chaos) waitConnected(ctx context.Context) error { return c.wait(ctx, c.connected) }

func (c *chaos) wait(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(wholePatience))
	defer cancel()
	start := time.Now()
	var last, late error
	for {
		err := try(ctx)
		if err == nil && late != nil {
			return fmt.Errorf("only after %s; %s before that: %w", ms(time.Since(start)), ms(time.Since(start)-pace.Scale(wholeWithin)), late)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not within %s: %w", wholePatience, errors.Join(last, err))
		}
		if last = err; late == nil && time.Since(start) > pace.Scale(wholeWithin) {
			late = err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connected pings from every pod to every pod, in each family. Of each two nodes the first calls before the other does: where both
// call at the very same moment, WireGuard lets go of both handshakes and waits 5 s, and that is nobody's fault.
func (c *chaos) connected(ctx context.Context) error {
	for i, from := range c.Nodes() {
		for _, to := range c.Nodes()[i+1:] {
			a, b := from.Pod(podNames[0]), to.Pod(podNames[0])
			if a == nil || b == nil {
				return fmt.Errorf("%s or %s has no pods", from.Name, to.Name)
			}
			for _, addr := range b.Addresses {
				if err := quickPing(ctx, &a.Host, addr); err != nil {
					return err
				}
			}
		}
	}
	pods := lab.PodHosts(c.Pods())
	_, err := lab.Matrix(ctx, pods, lab.Addresses(pods), quickPing)
	return err
}

// asBefore compares all that the product keeps with what it was.
func (c *chaos) asBefore(ctx context.Context) error {
	for _, n := range c.Nodes() {
		if !n.AgentRunning() {
			return fmt.Errorf("the agent of %s has ended", n.Name)
		}
		ready, cancel := context.WithTimeout(ctx, time.Second)
		err := n.WaitReady(ready)
		cancel()
		if err != nil {
			return err
		}
	}
	now, err := c.look(ctx)
	if err != nil {
		return err
	}
	for what, before := range c.before {
		if diff := cmp.Diff(before, now[what]); diff != "" {
			return fmt.Errorf("%s (-before +now):\n%s", what, diff)
		}
	}
	return nil
}

// lookCommand shows what Warren keeps on a node, without what changes by itself: counters, indexes, pods' own routes and addresses.
const lookCommand = `ip -br address show dev warren0 | tr ' ' '\n' | grep -v -e '^fe80' -e '^$' -e '^UNKNOWN$' -e '^UP$' | sort
ip -o link show warren0 | grep -o 'mtu [0-9]*'
ip -4 route show table all proto 87 | grep -v wrp | sort
ip -6 route show table all proto 87 | grep -v wrp | sort
nft -s list table inet warren-mesh
nft -s list table inet warren-policy | sed -n '/chain /,/}/p'
for map in egress ingress host; do nft list map inet warren-policy $map | grep -o '"wrp[^"]*" : [a-z]*' | sed "s/^/$map /" | sort; done
for what in public-key listen-port fwmark endpoints; do wg show warren0 $what | sort; done
wg show warren0 allowed-ips | while read key all; do for one in $all; do echo $key $one; done; done | sort
sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding`

// look is the state of every node, and of the claims.
func (c *chaos) look(ctx context.Context) (map[string]string, error) {
	state := map[string]string{}
	for _, n := range c.Nodes() {
		out, err := n.Command(ctx, "sh", "-c", lookCommand).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("looking at %s: %w: %s", n.Name, err, out)
		}
		if !strings.Contains(string(out), "chain") {
			return nil, fmt.Errorf("looking at %s: %s", n.Name, out)
		}
		state[n.Name] = string(out)
	}
	claims, err := c.claims(ctx)
	state["claims"] = claims
	return state, err
}

// settled says what a fault may have left behind for good that nothing else shows: keepalive that was never switched off again.
func (c *chaos) settled(ctx context.Context) error {
	return c.wait(ctx, func(ctx context.Context) error {
		var errs []error
		for _, n := range c.Nodes() {
			out, err := n.Run(ctx, "wg", "show", "warren0", "persistent-keepalive")
			if err == nil && strings.Count(out, "off") != len(c.Nodes())-1 {
				err = fmt.Errorf("%s keeps sessions alive: %s", n.Name, out)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}
