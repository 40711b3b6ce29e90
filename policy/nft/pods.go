package nft

import (
	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// elementsOf are what pods put into the base sets, by set.
func elementsOf(pods []policy.Binding) map[string][]nft.Element {
	out := make(map[string][]nft.Element)
	for _, b := range pods {
		out[egress] = append(out[egress], bound(b.Interface, b.Egress))
		out[ingress] = append(out[ingress], bound(b.Interface, b.Ingress))
		out[toNode] = append(out[toNode], bound(b.Interface, b.Host))
		for _, a := range b.Addresses {
			own := own6
			if a.Is4() {
				own = own4
			}
			out[own] = append(out[own], nft.InterfaceAddressElement(b.Interface, a))
		}
	}
	return out
}

// bound sends an interface's packets to a chain, or lets them pass where nothing applies.
func bound(i, chain string) nft.Element {
	if chain == "" {
		return nft.InterfaceReturn(i)
	}
	return nft.InterfaceGoto(i, chain)
}
