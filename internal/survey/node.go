package survey

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/ipam"
)

// Node is what one node hands out, and what its kernel has of it.
type Node struct {
	// CIDRs are the node's own.
	CIDRs  []netip.Prefix
	Leases []Lease
	Wires  []Wire
}

// Lease is one as the node's kernel shows it.
type Lease struct {
	ipam.Lease
	// Link is the name that the host's end of its wire has. It is empty where the wire is not ours: of a lease of host-local.
	Link string
	// Gone says that neither its wire nor its network namespace is there, and Unwired that its wire is not.
	Gone, Unwired bool
}

// Wire is the host's end of a pod's wire that is there, with the addresses that are routed to it. Of says whose it says it is.
type Wire struct {
	Link, Of  string
	Addresses []netip.Addr
}

// Check says what is wrong on a node.
func (n Node) Check() []Finding {
	var found []Finding
	links := map[string]bool{}
	routed := map[netip.Addr]Wire{}
	for _, w := range n.Wires {
		for _, a := range w.Addresses {
			routed[a] = w
		}
	}
	for _, l := range n.Leases {
		links[l.Link] = true
		found = append(found, n.checkLease(l, routed)...)
	}
	for _, w := range n.Wires {
		if !links[w.Link] {
			found = append(found, Finding{
				About:   w.Link,
				Problem: fmt.Sprintf("the interface of %s, with the addresses %s, has no lease", w.Of, list(w.Addresses)),
				Do:      "delete the pod, to have it made anew; where there is none, `ip link delete " + w.Link + "`",
			})
		}
	}
	return inOrder(found)
}

func (n Node) checkLease(l Lease, routed map[netip.Addr]Wire) (found []Finding) {
	for _, a := range l.Addresses {
		wrong := func(problem, do string) { found = append(found, Finding{About: a.String(), Problem: problem, Do: do}) }
		if l.Gone {
			wrong("leased to "+owner(l.Lease)+", of which nothing is left", "it is taken back within half a minute, or at once by `warren ipam release "+a.String()+"`")
		}
		if l.Unwired && !l.Gone {
			wrong("leased to "+owner(l.Lease)+", whose interface "+l.Link+" is gone", "delete the pod, to have it made anew")
		}
		if w, ok := routed[a]; ok && l.Link != "" && w.Link != l.Link {
			wrong("leased to "+owner(l.Lease)+", and routed to the interface of "+w.Of+" ("+w.Link+")", "delete both pods, to have them made anew")
		}
		if l.HostLocal == "" && len(n.CIDRs) > 0 && !within(a, n.CIDRs) {
			wrong("leased to "+owner(l.Lease)+", and in none of the node's pod CIDRs ("+list(n.CIDRs)+")", "delete the pod, to have it made anew")
		}
	}
	return found
}

// owner is whose a lease is.
func owner(l ipam.Lease) string {
	switch {
	case l.HostLocal != "":
		return "a pod that host-local wired (" + l.HostLocal + ")"
	case l.Pod.Name == "":
		return fmt.Sprintf("container %.12s (%s)", l.ContainerID, l.Interface)
	}
	return fmt.Sprintf("pod %s/%s (%s of container %.12s)", l.Pod.Namespace, l.Pod.Name, l.Interface, l.ContainerID)
}

// Owner is whose an address is among leases.
func Owner(leases []ipam.Lease, a netip.Addr) (lease ipam.Lease, whose string, ok bool) {
	i := slices.IndexFunc(leases, func(l ipam.Lease) bool { return slices.Contains(l.Addresses, a) })
	if i < 0 {
		return ipam.Lease{}, "", false
	}
	return leases[i], owner(leases[i]), true
}
