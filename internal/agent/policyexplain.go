package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/policy"
)

// errNoPolicy is told to who asks about policy where there is none.
var errNoPolicy = errors.New("policy is not enforced on this node: warrend runs with --policy=false")

// heardPolicies are what the API server has said, once it has said everything.
func (e *enforcement) heardPolicies() (*kube.Policies, error) {
	if e.table == nil {
		return nil, errNoPolicy
	}
	if objects := e.objects.Load(); objects != nil && objects.Synced() {
		return objects, nil
	}
	return nil, errors.New("the API server has not told of all pods, namespaces and policies yet: the agent's log says what is in the way")
}

// world is all that was heard. One that asks has it at a time: with 100,000 pods it is 10 MB.
func (e *enforcement) world(keep func(policy.Pod) bool) (policy.World, error) {
	objects, err := e.heardPolicies()
	if err != nil {
		return policy.World{}, err
	}
	w := objects.World(keep)
	e.mu.Lock()
	defer e.mu.Unlock()
	for name := range e.unreadable { // what was known of it holds
		if p := e.index.ClusterPolicy(name); p != nil {
			w.ClusterPolicies = append(w.ClusterPolicies, p)
		}
	}
	return w, nil
}

// behind says why the kernel may not hold what the API server says.
func (e *enforcement) behind() string {
	if problem := e.problem.String(); problem != "" {
		return "this is what the API server says; the kernel holds what it held before: " + problem
	}
	return ""
}

// surroundings are what of a question follows from the node.
type surroundings struct {
	// node are the node's own addresses, and local those of its pods.
	node  []netip.Addr
	local map[netip.Addr]policy.PodKey
}

// surroundings reads the interfaces of the node.
func (a *Agent) surroundings() (surroundings, error) {
	s := surroundings{local: a.enforcement.bonds.localAddresses()}
	links, err := net.Interfaces()
	if err != nil {
		return s, fmt.Errorf("listing the node's interfaces: %w", err)
	}
	for _, link := range links {
		if strings.HasPrefix(link.Name, mesh.PodLinkPrefix) {
			continue
		}
		addrs, err := link.Addrs()
		if err != nil {
			continue // It is gone.
		}
		for _, one := range addrs {
			if p, err := netip.ParsePrefix(one.String()); err == nil && p.Addr().IsGlobalUnicast() {
				s.node = append(s.node, p.Addr().Unmap())
			}
		}
	}
	slices.SortFunc(s.node, netip.Addr.Compare)
	s.node = slices.Compact(s.node)
	return s, nil
}

// localAddresses are those of the node's pods.
func (b *bonds) localAddresses() map[netip.Addr]policy.PodKey {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[netip.Addr]policy.PodKey, 2*len(b.locals))
	for _, l := range b.locals {
		for _, a := range l.Addresses {
			out[a] = l.PodKey
		}
	}
	return out
}

// Explain implements socket.Backend.
func (a *Agent) Explain(q socket.Question) (socket.Explained, error) {
	e := &a.enforcement
	e.asking.Lock()
	defer e.asking.Unlock()
	w, err := e.world(nil)
	if err != nil {
		return socket.Explained{}, err
	}
	here, err := a.surroundings()
	if err != nil {
		return socket.Explained{}, err
	}
	out, err := explain(w, here, q)
	out.Behind = e.behind()
	return out, err
}

// explain answers a question by a world.
func explain(w policy.World, here surroundings, q socket.Question) (socket.Explained, error) {
	from, err := here.endpoint(w, q.From)
	if err != nil {
		return socket.Explained{}, fmt.Errorf("FROM %w", err)
	}
	to, err := here.endpoint(w, q.To)
	if err != nil {
		return socket.Explained{}, fmt.Errorf("TO %w", err)
	}
	from.OwnNode, to.OwnNode = here.own(w, from, to), here.own(w, to, from)
	protocol, port, err := portOf(w, to, q.Port)
	if err != nil {
		return socket.Explained{}, fmt.Errorf("PORT %w", err)
	}
	explanation, err := w.Explain(from, to, protocol, port)
	if err != nil {
		return socket.Explained{}, err
	}
	out := socket.Explained{Allowed: true, Denied: true, Words: explanation.String()}
	for _, p := range explanation.Paths {
		out.Allowed, out.Denied = out.Allowed && p.Allowed(), out.Denied && !p.Allowed()
		out.Paths = append(out.Paths, socket.Path{
			From: p.From, To: p.To, Protocol: p.Protocol.String(), Port: p.Port, Allowed: p.Allowed(), Egress: verdictOf(p.Egress), Ingress: verdictOf(p.Ingress),
		})
	}
	return out, nil
}

func verdictOf(e policy.End) socket.Verdict {
	v := socket.Verdict{Allowed: e.Allowed, Why: e.Why, Pod: podName(e.Pod)}
	if e.By.Tier != policy.NoTier {
		rule := ruleOf(e.By)
		v.Rule = &rule
	}
	return v
}

func ruleOf(id policy.RuleID) socket.Rule {
	r := socket.Rule{Tier: id.Tier.String(), Namespace: id.Namespace, Policy: id.Policy, Name: id.Name}
	if id.Rule >= 0 {
		r.Index = &id.Rule
	}
	return r
}

// podName is empty for no pod.
func podName(k policy.PodKey) string {
	if k == (policy.PodKey{}) {
		return ""
	}
	return k.String()
}

// endpoint reads one end of a question.
func (s surroundings) endpoint(w policy.World, text string) (policy.Endpoint, error) {
	const want = "want NAMESPACE/POD, an address, or node"
	if text == "node" {
		if len(s.node) == 0 {
			return policy.Endpoint{}, errors.New("node: it has no address")
		}
		return policy.Endpoint{Node: s.node}, nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return policy.Endpoint{Address: addr.Unmap()}, nil
	}
	if strings.HasPrefix(text, "svc/") {
		return policy.Endpoint{}, fmt.Errorf("%q: services are not known to policy, which is asked behind them: name one of its pods", text)
	}
	key, err := podKey(text)
	if err != nil {
		return policy.Endpoint{}, fmt.Errorf("%q: %s", text, want)
	}
	if !slices.ContainsFunc(w.Pods, func(p policy.Pod) bool { return p.PodKey == key }) {
		return policy.Endpoint{}, fmt.Errorf("%q: there is no such pod, or it has ended; %s", text, want)
	}
	return policy.Endpoint{Pod: key}, nil
}

func podKey(text string) (policy.PodKey, error) {
	namespace, name, found := strings.Cut(text, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return policy.PodKey{}, fmt.Errorf("pod %q: want NAMESPACE/POD", text)
	}
	return policy.PodKey{Namespace: namespace, Name: name}, nil
}

// own says whether an end is this node, and the other a pod of it. Which node other pods run on is not known here.
func (s surroundings) own(w policy.World, end, other policy.Endpoint) bool {
	return s.isNode(w, end) && s.isLocal(other)
}

// isNode says whether an end is this node, by whatever it is called: a pod of the host's network is it too.
func (s surroundings) isNode(w policy.World, e policy.Endpoint) bool {
	at := slices.IndexFunc(w.Pods, func(p policy.Pod) bool { return e.Pod != policy.PodKey{} && p.PodKey == e.Pod })
	switch {
	case len(e.Node) > 0:
		return true
	case at >= 0:
		pod := w.Pods[at]
		return pod.HostNetwork && slices.ContainsFunc(pod.Addresses, func(a netip.Addr) bool { return slices.Contains(s.node, a) })
	}
	return slices.Contains(s.node, e.Address)
}

func (s surroundings) isLocal(e policy.Endpoint) bool {
	for address, pod := range s.local {
		if address == e.Address || e.Pod != (policy.PodKey{}) && pod == e.Pod {
			return true
		}
	}
	return false
}

var portProtocols = map[string]policy.Protocol{"tcp": policy.TCP, "udp": policy.UDP, "sctp": policy.SCTP}

// portOf reads a port of the destination: a number or its name, and a protocol; TCP without, where the name says nothing else.
func portOf(w policy.World, to policy.Endpoint, text string) (policy.Protocol, uint16, error) {
	if text == "icmp" {
		return policy.ICMP, 0, nil
	}
	port, word, said := strings.Cut(text, "/")
	protocol, known := portProtocols[word]
	if said && !known {
		return 0, 0, fmt.Errorf("%q: want a number or a port's name, with /tcp, /udp or /sctp after it or nothing, or icmp", text)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err == nil && number > 0 {
		if !said {
			protocol = policy.TCP
		}
		return protocol, uint16(number), nil
	}
	at := slices.IndexFunc(w.Pods, func(p policy.Pod) bool { return to.Pod != policy.PodKey{} && p.PodKey == to.Pod })
	if at < 0 {
		return 0, 0, fmt.Errorf("%q: want a number from 1 to 65535, or icmp; a name is of a port of a pod, and TO is none", text)
	}
	var found []policy.NamedPort
	for _, p := range w.Pods[at].Ports {
		if p.Name == port && (!said || p.Protocol == protocol) {
			found = append(found, p)
		}
	}
	switch {
	case len(found) == 0:
		return 0, 0, fmt.Errorf("%q: want a number from 1 to 65535, icmp, or the name of a port of pod %s, which has no such", text, to.Pod)
	case len(found) > 1 && found[0].Protocol != found[1].Protocol:
		return 0, 0, fmt.Errorf("%q: pod %s has it for several protocols: want one after it, as in %s/%s", text, to.Pod, port, found[0].Protocol)
	}
	return found[0].Protocol, found[0].Port, nil
}
