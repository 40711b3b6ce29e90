package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// otherPort is where pods of policies answer, too.
const otherPort = 8

// protocols are how one can knock: "tcp8" is TCP to the other port.
var protocols = []string{"tcp", "tcp8", "udp", "sctp", "icmp"}

// knock is one attempt to reach somebody.
type knock struct {
	from, to, proto string
	host            *lab.Host
	// source is invalid where the kernel is to choose.
	source  netip.Addr
	address netip.AddrPort
}

func (k knock) String() string { return fmt.Sprintf("%s>%s/%s %s", k.from, k.to, k.proto, k.address) }

// matches says whether one of the patterns is of it. A pattern is "from>to", "from>to/protocols" or "from>to/protocols/family": lists
// with commas, where "*" stands for all, and 4 or 6.
func (k knock) matches(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		from, to, protos, family := parsePattern(pattern)
		return listed(from, k.from) && listed(to, k.to) && listed(protos, k.proto) && (family == "" || (family == "4") == k.address.Addr().Is4())
	})
}

func parsePattern(pattern string) (from, to, protos, family string) {
	parts := strings.Split(pattern, "/")
	from, to, _ = strings.Cut(parts[0], ">")
	protos = "*"
	if len(parts) > 1 && parts[1] != "" {
		protos = parts[1]
	}
	if len(parts) > 2 {
		family = parts[2]
	}
	return from, to, protos, family
}

func listed(list, one string) bool {
	return list == "*" || slices.Contains(strings.Split(list, ","), one)
}

// An attempt waits for an answer for probeTimeout, and where not all went as they should for twice as long the next time, up to longestProbe:
// on a machine that is busy an answer comes late, and what is denied never has one.
const (
	probeTimeout = 400 * time.Millisecond
	longestProbe = 4 * time.Second
)

// try is an error where nothing comes back.
func (k knock) try(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(timeout))
	defer cancel()
	size := 100 // bytes
	switch k.proto {
	case "icmp":
		return k.host.Ping(ctx, k.address.Addr(), lab.PingOptions{Timeout: timeout})
	case "tcp8":
		return k.host.ReachFrom(ctx, k.source, netip.AddrPortFrom(k.address.Addr(), otherPort), "tcp", size)
	}
	if k.proto == "udp" {
		size = 3000 // in fragments
	}
	return k.host.ReachFrom(ctx, k.source, k.address, k.proto, size)
}

// caller is the host that knocks in somebody's name, and by which of its addresses: "n1@node" is node n1 by its own rather than those that
// the kernel takes.
func (s *scene) caller(name string) (*lab.Host, []netip.Addr) {
	if name == "out" {
		return s.outside(), nil
	}
	node, _, bound := strings.Cut(name, "@")
	if n := s.Node(node); n != nil && bound {
		return &n.Host, n.Addresses
	} else if n != nil {
		return &n.Host, nil
	}
	for _, p := range s.Pods() {
		if p.Name == name {
			return &p.Host, nil
		}
	}
	return nil, nil
}

// outside is a host of the underlay that is no node.
func (s *scene) outside() *lab.Host {
	out := *s.Switch()
	out.Name = "out"
	return &out
}

// place is where somebody is reached: pods, nodes, "mesh1" for the mesh addresses of n1, "out", and services.
func (s *scene) place(name string) (at []netip.AddrPort) {
	if service, ok := s.service(name); ok {
		return service
	}
	var addrs []netip.Addr
	if number, ok := strings.CutPrefix(name, "mesh"); ok {
		addrs = s.Node("n" + number).MeshAddresses
	} else if host, _ := s.caller(name); host != nil {
		addrs = host.Addresses
	}
	for _, a := range addrs {
		at = append(at, netip.AddrPortFrom(a, lab.EchoPort))
	}
	return at
}

// knocks are all that some patterns name; without any, those of all pods at all others.
func (s *scene) knocks(t *testing.T, patterns []string) (all []knock) {
	t.Helper()
	if len(patterns) == 0 {
		patterns = []string{"*>*"}
	}
	for _, pattern := range patterns {
		from, to, protos, family := parsePattern(pattern)
		for _, f := range s.names(from) {
			for _, name := range s.names(to) {
				if f != name {
					all = append(all, s.knocksBetween(t, f, name, protos, family)...)
				}
			}
		}
	}
	return all
}

func (s *scene) names(list string) (names []string) {
	if list != "*" {
		return strings.Split(list, ",")
	}
	for _, p := range s.Pods() {
		names = append(names, p.Name)
	}
	return names
}

func (s *scene) knocksBetween(t *testing.T, from, to, protos, family string) (all []knock) {
	t.Helper()
	host, sources := s.caller(from)
	places := s.place(to)
	if host == nil || len(places) == 0 {
		t.Fatalf("%s>%s: one of them is not there", from, to)
	}
	for _, place := range places {
		source := netip.Addr{}
		for _, a := range sources {
			if a.Is4() == place.Addr().Is4() {
				source = a
			}
		}
		for _, proto := range protocols {
			k := knock{from: from, to: to, proto: proto, host: host, source: source, address: place}
			service, bound := place.Port() != lab.EchoPort, source.IsValid()
			other := proto == "tcp8" && s.podOf(to) == nil
			if !listed(protos, proto) || service && proto == "icmp" || bound && proto == "icmp" || other ||
				family != "" && (family == "4") != place.Addr().Is4() {
				continue
			}
			all = append(all, k)
		}
	}
	return all
}

// podOf is the pod of a name, whatever its node.
func (s *scene) podOf(name string) *lab.Pod {
	for _, p := range s.Pods() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// wrong are the attempts whose outcome is not as it should be.
func wrong(ctx context.Context, knocks []knock, denied []string, timeout time.Duration) (wrong []string) {
	var running sync.WaitGroup
	var mu sync.Mutex
	for _, k := range knocks {
		running.Go(func() {
			err := k.try(ctx, timeout)
			if (err != nil) != k.matches(denied) {
				mu.Lock()
				defer mu.Unlock()
				wrong = append(wrong, fmt.Sprintf("%s: %v", k, err))
			}
		})
	}
	running.Wait()
	slices.Sort(wrong)
	return wrong
}

// reach wants all pods to reach all others but those that are denied.
func (s *scene) reach(ctx context.Context, t *testing.T, denied ...string) {
	t.Helper()
	s.reachAmong(ctx, t, nil, denied)
}

// enforced is how soon a change of policy must be, on a machine that is busy.
const enforced = 20 * time.Second

// reachAmong wants all attempts that are named to succeed but those that are denied. A pattern of what is denied that is of none of them is a
// mistake.
func (s *scene) reachAmong(ctx context.Context, t *testing.T, among, denied []string) {
	t.Helper()
	s.reachWithin(ctx, t, enforced, among, denied)
}

func (s *scene) reachWithin(ctx context.Context, t *testing.T, limit time.Duration, among, denied []string) {
	t.Helper()
	knocks := s.knocks(t, among)
	for _, pattern := range denied {
		if !slices.ContainsFunc(knocks, func(k knock) bool { return k.matches([]string{pattern}) }) {
			t.Fatalf("nobody knocks as %q says", pattern)
		}
	}
	timeout := probeTimeout
	eventually(ctx, t, limit, func() error {
		wrong := wrong(ctx, knocks, denied, timeout)
		timeout = min(2*timeout, longestProbe)
		if len(wrong) > 0 {
			return fmt.Errorf("denied should be %q, and %d of %d are wrong:\n%s", denied, len(wrong), len(knocks), strings.Join(wrong[:min(len(wrong), 40)], "\n"))
		}
		return nil
	})
}
