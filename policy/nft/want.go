package nft

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/policy"
)

// table is the whole table for a ruleset, in an order that follows from it.
func (o Options) table(r policy.Ruleset) (nft.Table, error) {
	t := nft.Table{Family: nft.INet, Name: TableName, Counters: o.baseCounters(), Sets: o.baseSets()}
	for _, name := range slices.Sorted(maps.Keys(r.Sets)) {
		s, err := setOf(r.Sets[name])
		if err != nil {
			return t, err
		}
		t.Sets = append(t.Sets, s)
	}
	kinds := func(set string) policy.SetKind { return r.Sets[set].Kind }
	for _, name := range slices.Sorted(maps.Keys(r.Chains)) {
		c, err := o.chain(r.Chains[name], kinds)
		if err != nil {
			return t, err
		}
		t.Chains = append(t.Chains, c)
	}
	t.Chains = append(t.Chains, o.baseChains()...)
	pods := slices.SortedFunc(maps.Values(r.Pods), func(a, b policy.Binding) int { return strings.Compare(a.Interface, b.Interface) })
	if err := o.checkPods(pods); err != nil {
		return t, err
	}
	bound := elementsOf(pods)
	for i := range t.Sets {
		if e, ok := bound[t.Sets[i].Name]; ok {
			t.Sets[i].Elements = e
		}
	}
	return t, nil
}

// setOf is a set without its members, which it makes when they are asked for.
func setOf(s policy.Set) (nft.Set, error) {
	kind, ok := kindOf[s.Kind]
	if !ok {
		return nft.Set{}, fmt.Errorf("set %s: %d is no kind of sets", s.Name, s.Kind)
	}
	if err := checkName(s.Name); err != nil {
		return nft.Set{}, fmt.Errorf("set %q: %w", s.Name, err)
	}
	return nft.Set{Name: s.Name, Kind: kind, Source: func() []nft.Element {
		out := make([]nft.Element, 0, len(s.Members)+len(s.Ranges))
		for m := range s.Members {
			out = append(out, member(kind, m))
		}
		for _, r := range s.Ranges {
			out = append(out, nft.RangeElement(r.First, r.Last))
		}
		return out
	}}, nil
}

var kindOf = map[policy.SetKind]nft.Kind{
	policy.Addresses4: nft.IPv4Addresses,
	policy.Addresses6: nft.IPv6Addresses,
	policy.Ports4:     nft.IPv4Ports,
	policy.Ports6:     nft.IPv6Ports,
	policy.Ranges4:    nft.IPv4Ranges,
	policy.Ranges6:    nft.IPv6Ranges,
}

func member(k nft.Kind, m policy.Member) nft.Element {
	if k == nft.IPv4Ports || k == nft.IPv6Ports {
		return nft.PortElement(m.Address, uint8(m.Protocol), m.Port)
	}
	return nft.AddressElement(m.Address)
}

// longestName leaves room in a log's prefix for a rule's number.
const longestName = 100

var reserved = func() map[string]bool {
	out := map[string]bool{}
	o := Options{Theirs: true} // which has all
	for _, s := range o.baseSets() {
		out[s.Name] = true
	}
	for _, c := range o.baseChains() {
		out[c.Name] = true
	}
	return out
}()

// checkName refuses what nft could not list, and names of our own.
func checkName(name string) error {
	if name == "" || len(name) > longestName || reserved[name] {
		return fmt.Errorf("want a name of 1 to %d bytes that is none of the table's own", longestName)
	}
	return nil
}

// checkPods refuses interfaces that are no pods', which the base chains would never ask for.
func (o Options) checkPods(pods []policy.Binding) error {
	var errs []error
	for _, b := range pods {
		if o.Theirs {
			errs = append(errs, checkLink(b.Interface))
			continue
		}
		if !strings.HasPrefix(b.Interface, mesh.PodLinkPrefix) || len(b.Interface) > longestLink {
			errs = append(errs, fmt.Errorf("interface %q of pod %s: a pod's begins with %s and has at most %d bytes",
				b.Interface, b.PodKey, mesh.PodLinkPrefix, longestLink))
		}
	}
	return errors.Join(errs...)
}

// longestLink is the length of the longest name of a link: IFNAMSIZ without the closing zero.
const longestLink = 15
