package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
)

// The annotations by which a pod says where its addresses are to come from.
const (
	// AnnotationPools names pools, comma-separated, the best first. A pod's counts, or else its namespace's.
	AnnotationPools = "warren.dev/pools"
	// AnnotationIP is a pod's addresses, comma-separated, at most one of each family.
	AnnotationIP = "warren.dev/ip"
)

// What a caller may want to tell apart with errors.Is.
var (
	// ErrDenied says that a pod cannot have addresses as it asks for them, or that none are for it.
	ErrDenied = errors.New("no address for this pod")
	// ErrLater says that a pod may have addresses once somebody else is there again.
	ErrLater = errors.New("try again later")
)

// fixedInterface is the one that AnnotationIP is for: a pod's others have addresses, too.
const fixedInterface = "eth0"

// Metadata is what is read of a pod and of its namespace.
type Metadata struct {
	// Pod and Namespace are annotations.
	Pod, Namespace map[string]string
	// Labels are the namespace's.
	Labels labels.Set
}

// Wish is what a pod asks for, and what its namespace is. The zero value asks for nothing.
type Wish struct {
	// Labels are the namespace's.
	Labels labels.Set
	// Pools are names, the best first; none where any will do.
	Pools []string
	// Fixed are addresses, at most one of each family. ByRuntime says that the runtime asks for them, for the interface at hand, and not
	// AnnotationIP.
	Fixed     []netip.Addr
	ByRuntime bool
}

// ParseWish reads a pod's wish. The error names annotation, value and what would be right.
func ParseWish(m Metadata) (Wish, error) {
	w := Wish{Labels: m.Labels}
	text, whose := m.Pod[AnnotationPools], "the pod"
	if text == "" {
		text, whose = m.Namespace[AnnotationPools], "the namespace"
	}
	for _, name := range items(text) {
		if slices.Contains(w.Pools, name) {
			return Wish{}, fmt.Errorf("%w: annotation %s of %s: %.64q is there twice, want each pool once", ErrDenied, AnnotationPools, whose, name)
		}
		w.Pools = append(w.Pools, name)
	}
	for _, item := range items(m.Pod[AnnotationIP]) {
		a, err := netip.ParseAddr(item)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return Wish{}, fmt.Errorf("%w: annotation %s of the pod: %.64q is not an IPv4 or IPv6 address, like 10.64.0.7 or fd00:64::7", ErrDenied, AnnotationIP, item)
		}
		if w.fixed(a.Is4()).IsValid() {
			return Wish{}, fmt.Errorf("%w: annotation %s of the pod: %.64q is the second of its family, want one at most", ErrDenied, AnnotationIP, item)
		}
		w.Fixed = append(w.Fixed, a)
	}
	return w, nil
}

func items(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// asker is who asks for Fixed.
func (w Wish) asker() string {
	if w.ByRuntime {
		return "runtimeConfig.ips"
	}
	return "annotation " + AnnotationIP
}

// fixed is the address of a family that is asked for; invalid where none is.
func (w Wish) fixed(is4 bool) netip.Addr {
	for _, a := range w.Fixed {
		if a.Is4() == is4 {
			return a
		}
	}
	return netip.Addr{}
}

// choose are the pools that the pod may have addresses from, the best first: those that select its namespace or, where none does, those
// that select none; and of these the ones that it asks for.
func (w Wish) choose(all []Pool) ([]Pool, error) {
	var bound, open []Pool
	for _, p := range all {
		switch {
		case p.Namespaces == nil:
			open = append(open, p)
		case p.Namespaces.Matches(w.Labels):
			bound = append(bound, p)
		}
	}
	allowed := open
	if len(bound) > 0 {
		allowed = bound
	}
	allowed = slices.DeleteFunc(allowed, func(p Pool) bool { return !p.Pods })
	slices.SortFunc(allowed, func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	if len(w.Pools) == 0 {
		return allowed, nil
	}
	var chosen []Pool
	for _, name := range w.Pools {
		i := slices.IndexFunc(allowed, func(p Pool) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: annotation %s: %.64q is no pool that it may have addresses from; those are: %s", ErrDenied, AnnotationPools, name, names(allowed))
		}
		chosen = append(chosen, allowed[i])
	}
	return chosen, nil
}

func names(pools []Pool) string {
	if len(pools) == 0 {
		return "none"
	}
	texts := make([]string, len(pools))
	for i, p := range pools {
		texts[i] = p.Name
	}
	return strings.Join(texts, ", ")
}
