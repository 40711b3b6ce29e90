package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
)

// String is what `warren policy explain` prints: paths that come to the same are told as one.
func (e Explanation) String() string {
	var told [][]Path
	for _, p := range e.Paths {
		at := slices.IndexFunc(told, func(same []Path) bool {
			return same[0].Protocol == p.Protocol && same[0].Egress == p.Egress && same[0].Ingress == p.Ingress
		})
		if at < 0 {
			told = append(told, []Path{p})
			continue
		}
		told[at] = append(told[at], p)
	}
	var b strings.Builder
	for _, same := range told {
		e.write(&b, same)
	}
	return b.String()
}

func (e Explanation) write(b *strings.Builder, paths []Path) {
	var from, to []string
	for _, p := range paths {
		from, to = append(from, p.From.String()), append(to, p.To.String())
	}
	what := paths[0].Protocol.String()
	if e.Port != 0 {
		what += " " + strconv.Itoa(int(e.Port))
	}
	fmt.Fprintf(b, "%s to %s, %s: %s\n", label(e.From, from), label(e.To, to), what, verdictWord(paths[0].Allowed()))
	fmt.Fprintf(b, "  egress from %s: %s\n", paths[0].Egress.label(e.From), paths[0].Egress)
	fmt.Fprintf(b, "  ingress to %s: %s\n", paths[0].Ingress.label(e.To), paths[0].Ingress)
}

func (e End) String() string { return verdictWord(e.Allowed) + ": " + e.Why }

// label names the pod, also where only its address was asked for.
func (e End) label(of Endpoint) string {
	if e.Pod != (PodKey{}) {
		return e.Pod.String()
	}
	return of.name()
}

func label(e Endpoint, addresses []string) string {
	if e.Pod == (PodKey{}) && len(e.Node) == 0 {
		return e.name()
	}
	slices.Sort(addresses)
	return fmt.Sprintf("%s (%s)", e.name(), strings.Join(slices.Compact(addresses), ", "))
}

func verdictWord(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

func whyIsolated(isolating []*networkingv1.NetworkPolicy) string {
	var names []string
	for _, p := range isolating {
		names = append(names, p.Namespace+"/"+p.Name)
	}
	if len(names) == 1 {
		return fmt.Sprintf("NetworkPolicy %s isolates it, and no rule of it matches", names[0])
	}
	return fmt.Sprintf("NetworkPolicies %s isolate it, and no rule of theirs matches", strings.Join(names, ", "))
}
