package podnet

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
)

// Given says which hardware addresses the node's pods were given, by the host's end of their wire: whoever wired them, and whatever they have
// made of it since. The host's end knows by the neighbour that it sends to. It is called in the host's network namespace.
func Given() (map[string]net.HardwareAddr, error) {
	host, err := newEnd()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	links, err := dump.Undisturbed(host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing the pods' links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		if a := l.Attrs(); l.Type() == "veth" && strings.HasPrefix(a.Name, mesh.PodLinkPrefix) && strings.HasPrefix(a.Alias, mesh.LinkAlias) && !retired(l) {
			names[a.Index] = a.Name
		}
	}
	given := map[string]net.HardwareAddr{}
	doubtful := map[string]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		neighbours, err := host.neighbours(family)
		if err != nil {
			return nil, fmt.Errorf("listing the pods' neighbours: %w", err)
		}
		for _, n := range neighbours {
			name, ok := names[n.LinkIndex]
			if !ok || n.State&netlink.NUD_PERMANENT == 0 {
				continue
			}
			if known, ok := given[name]; ok && !bytes.Equal(known, n.HardwareAddr) {
				doubtful[name] = true // Not by us.
			}
			given[name] = n.HardwareAddr
		}
	}
	for name := range doubtful {
		delete(given, name)
	}
	return given, nil
}

// neighbours lists those of a family. netlink asks for them by a header whose padding is what was in memory, which strict checks refuse
// unless that was nothing.
func (e *end) neighbours(family int) ([]netlink.Neigh, error) {
	return unchecked(e, func() ([]netlink.Neigh, error) { return e.NeighList(0, family) })
}
