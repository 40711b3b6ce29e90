package survey

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/mesh"
)

// Cluster is what all nodes were given, and what all pods have of it.
type Cluster struct {
	// Nodes have the blocks that count among their grants.
	Nodes []mesh.Node
	Pods  []Pod
	// Pools are those that count, by name, and Blocks all that can be read; Unsound says what of them does not count, and why.
	Pools   []ipam.Pool
	Blocks  []ipam.Block
	Unsound []string
}

// Pod is a pod that has a network of its own and has not ended.
type Pod struct {
	// Name is with its namespace.
	Name, Node string
	Addresses  []netip.Addr
	// Running says that its containers were started.
	Running bool
}

// Check says what is wrong in a cluster.
func (c Cluster) Check() []Finding {
	grants := map[string][]netip.Prefix{}
	var found []Finding
	for _, n := range c.Nodes {
		grants[n.Name] = n.Grants
		found = append(found, checkNode(n)...)
	}
	for _, why := range c.Unsound {
		found = append(found, Finding{About: "pools", Problem: why, Do: "correct or delete it: nobody gets addresses by it"})
	}
	return inOrder(slices.Concat(found, c.checkOverlaps(), c.checkDuplicates(), c.checkPods(grants)))
}

func checkNode(n mesh.Node) (found []Finding) {
	wrong := func(problem, do string) {
		found = append(found, Finding{About: "node " + n.Name, Problem: problem, Do: do})
	}
	switch {
	case n.Malformed != "":
		wrong(n.Malformed, "correct it; until then the node is no peer")
	case len(n.Grants) == 0:
		wrong("it has no pod CIDR and no block", "give it one: kube-controller-manager does, with --allocate-node-cidrs, or an IPPool")
	}
	for _, d := range n.Doubts {
		wrong(fmt.Sprintf("its block %s does not count: %s", d.CIDR, d.Why), "correct that, or delete the IPBlock")
	}
	for _, claimed := range n.Claim.PodCIDRs {
		covers := func(g netip.Prefix) bool { return g.Bits() <= claimed.Bits() && g.Contains(claimed.Addr()) }
		if !slices.ContainsFunc(n.Grants, covers) {
			wrong(fmt.Sprintf("it claims %s, which is in none of its grants (%s)", claimed, list(n.Grants)), "look at its agent's log; nobody routes that to it")
		}
	}
	return found
}

// checkOverlaps looks for addresses that were given to two nodes.
func (c Cluster) checkOverlaps() (found []Finding) {
	type grant struct {
		netip.Prefix
		node string
	}
	var all []grant
	for _, n := range c.Nodes {
		for _, p := range n.Grants {
			all = append(all, grant{p, n.Name})
		}
	}
	slices.SortFunc(all, func(a, b grant) int { return a.Compare(b.Prefix) })
	for i := 1; i < len(all); i++ { // In this order one that is contained in another follows it, and what overlaps is contained.
		wide, next := all[i-1], all[i]
		if !wide.Overlaps(next.Prefix) {
			continue
		}
		if wide.node != next.node {
			found = append(found, Finding{
				About: next.String(), Problem: fmt.Sprintf("granted to node %s, and overlaps %s, which was granted to node %s", next.node, wide.Prefix, wide.node),
				Do: "make the younger of the two Nodes anew; until then the older one has it",
			})
		}
		all[i] = wide
	}
	return found
}

func (c Cluster) checkDuplicates() (found []Finding) {
	holders := map[netip.Addr]Pod{}
	for _, p := range c.Pods {
		for _, a := range p.Addresses {
			if first, ok := holders[a]; ok && first.Name != p.Name {
				found = append(found, Finding{
					About: a.String(), Problem: fmt.Sprintf("it is pod %s's on node %s and pod %s's on node %s", first.Name, first.Node, p.Name, p.Node),
					Do: "delete both pods, to have them made anew",
				})
			}
			holders[a] = p
		}
	}
	return found
}

func (c Cluster) checkPods(grants map[string][]netip.Prefix) (found []Finding) {
	for _, p := range c.Pods {
		prefixes, known := grants[p.Node]
		switch {
		case !known:
			found = append(found, Finding{About: "pod " + p.Name, Problem: "it is on node " + p.Node + ", which is not there", Do: "delete it"})
			continue
		case len(p.Addresses) == 0 && p.Running:
			found = append(found, Finding{About: "pod " + p.Name, Problem: "it runs on node " + p.Node + " and has no address", Do: "look at the node's kubelet, and delete the pod, to have it made anew"})
		}
		for _, a := range p.Addresses {
			if !within(a, prefixes) {
				found = append(found, Finding{
					About: a.String(), Problem: fmt.Sprintf("it is pod %s's, and in none of the grants of its node %s (%s)", p.Name, p.Node, list(prefixes)),
					Do: "delete the pod, to have it made anew: nobody routes that address to it",
				})
			}
		}
	}
	return found
}
