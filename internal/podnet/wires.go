package podnet

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
)

// Wire is the host's end of a pod's wire that is there. Of says whose it is, such as "pod default/web".
type Wire struct {
	Link, Of  string
	Addresses []netip.Addr
}

// Pod is the pod's namespace and name, as far as Of has room for them.
func (w Wire) Pod() (namespace, name string) {
	namespace, name, _ = strings.Cut(strings.TrimPrefix(w.Of, podAlias), "/")
	return namespace, name
}

// Wires are all that the node has, with the addresses that are routed to them. It is called in the host's network namespace.
func Wires() ([]Wire, error) {
	host, err := newEnd()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	links, err := dump.Undisturbed(host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing the pods' links: %w", err)
	}
	var wires []Wire
	for _, l := range links {
		attrs := l.Attrs()
		of, ours := strings.CutPrefix(attrs.Alias, mesh.LinkAlias)
		if l.Type() != "veth" || !strings.HasPrefix(attrs.Name, mesh.PodLinkPrefix) || !ours || retired(l) {
			continue
		}
		four, err4 := host.hostRoutes(attrs.Index, gateway4)
		six, err6 := host.hostRoutes(attrs.Index, gateway6)
		if err := errors.Join(err4, err6); err != nil {
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				continue // It went meanwhile.
			}
			return nil, err
		}
		wires = append(wires, Wire{Link: attrs.Name, Of: of, Addresses: append(four, six...)})
	}
	return wires, nil
}
