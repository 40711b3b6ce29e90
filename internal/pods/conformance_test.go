package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/warren-mesh/warren/internal/cni"
)

// network is a configuration list of the plugin, and how a runtime runs it: cnitool does the same.
func (n *node) network(t *testing.T, version string, more ...string) (*libcni.CNIConfig, *libcni.NetworkConfigList) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	plugins := fmt.Sprintf(`{"type": %q, "socket": %q, "dns": {"nameservers": ["10.96.0.10"]}}`, cni.PluginName, n.socket())
	list, err := libcni.NetworkConfFromBytes(fmt.Appendf(nil, `{"cniVersion": %q, "name": "warren", "plugins": [%s]}`,
		version, strings.Join(append([]string{plugins}, more...), ", ")))
	if err != nil {
		t.Fatal(err)
	}
	return libcni.NewCNIConfigWithCacheDir([]string{filepath.Dir(path)}, filepath.Join(n.dir, "cache"), nil), list
}

func (s *sandbox) conf(iface string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: s.id, NetNS: s.path(), IfName: iface, Args: [][2]string{
		{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", s.pod}, {"K8S_POD_UID", "5d2c"},
	}}
}

// TestConformance is what cnitool does: add, check, del, gc and status, in each version that we speak.
func TestConformance(t *testing.T) {
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			n := newNode(t, cidr4, "fd00:10:244:3::/64")
			n.start(t, -1, 0)
			n.ready(t)
			tool, list := n.network(t, version)
			s := n.sandbox(t, "web")
			defer s.close()
			added, err := tool.AddNetworkList(t.Context(), list, s.conf("eth0"))
			if err != nil {
				t.Fatal(err)
			}
			if added.Version() != version {
				t.Errorf("the result is of version %s", added.Version())
			}
			wantResult(t, added, s)
			again, err := tool.AddNetworkList(t.Context(), list, s.conf("eth0"))
			if err != nil || fmt.Sprint(again) == "" {
				t.Errorf("ADD again: %v", err)
			}
			wantResult(t, again, s)
			reaches(t, s)
			if version != "0.3.1" { // which has no CHECK
				if err := tool.CheckNetworkList(t.Context(), list, s.conf("eth0")); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			}
			for range 2 {
				if err := tool.DelNetworkList(t.Context(), list, s.conf("eth0")); err != nil {
					t.Errorf("DEL: %v", err)
				}
			}
			n.empty(t)
		})
	}
}

// wantResult wants a first pod's result: both ends of its wire, both families, and the resolver of the configuration.
func wantResult(t *testing.T, r types.Result, s *sandbox) {
	t.Helper()
	result, err := types100.NewResultFromResult(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Interfaces) != 2 || !strings.HasPrefix(result.Interfaces[0].Name, "wrp") || result.Interfaces[0].Sandbox != "" ||
		result.Interfaces[1].Name != "eth0" || result.Interfaces[1].Sandbox != s.path() || result.Interfaces[1].Mac == "" {
		t.Errorf("interfaces: %v", result.Interfaces)
	}
	s.addrs = nil
	for i, want := range []string{"10.244.3.2/32 169.254.1.1", "fd00:10:244:3::2/128 fe80::1"} {
		if i >= len(result.IPs) {
			t.Fatalf("%d addresses", len(result.IPs))
		}
		ip := result.IPs[i]
		if got := fmt.Sprint(ip.Address.String(), " ", ip.Gateway); got != want || ip.Interface == nil || *ip.Interface != 1 {
			t.Errorf("address %d: %s, interface %v; want %s, 1", i, got, ip.Interface, want)
		}
		a, _ := netip.AddrFromSlice(ip.Address.IP)
		s.addrs = append(s.addrs, a.Unmap())
	}
	var routes []string
	for _, route := range result.Routes {
		routes = append(routes, fmt.Sprint(route.Dst.String(), " ", route.GW))
	}
	if want := []string{"0.0.0.0/0 169.254.1.1", "::/0 fe80::1"}; !slices.Equal(routes, want) {
		t.Errorf("routes %v, want %v", routes, want)
	}
	if !slices.Equal(result.DNS.Nameservers, []string{"10.96.0.10"}) {
		t.Errorf("resolver %v", result.DNS)
	}
}

func TestStatus(t *testing.T) {
	n := newNode(t, cidr4)
	tool, list := n.network(t, "1.1.0")
	err := tool.GetStatusNetworkList(t.Context(), list)
	if e := (*types.Error)(nil); !errors.As(err, &e) || e.Code != types.ErrPluginNotAvailable {
		t.Errorf("STATUS without an agent: %v, want code 50", err)
	}
	n.start(t, -1, 0)
	n.ready(t)
	if err := tool.GetStatusNetworkList(t.Context(), list); err != nil {
		t.Errorf("STATUS: %v", err)
	}
}

// TestGC: what the runtime does not list is taken, at once where nothing is left of it, and else when it is said again. What it lists
// stays, and so does what is another network's.
func TestGC(t *testing.T) {
	n := newNode(t, cidr4)
	n.start(t, -1, 0)
	n.ready(t)
	tool, list := n.network(t, "1.1.0")
	listed, unlisted := n.sandbox(t, "listed"), n.sandbox(t, "unlisted")
	for _, s := range []*sandbox{listed, unlisted} {
		if err := n.add(s); err != nil {
			t.Fatal(err)
		}
	}
	other := *list
	other.Name = "other"
	if err := tool.GCNetworkList(t.Context(), &other, &libcni.GCArgs{}); err != nil {
		t.Error(err)
	}
	gc := func() {
		t.Helper()
		if err := tool.GCNetworkList(t.Context(), list, &libcni.GCArgs{
			ValidAttachments: []types.GCAttachment{{ContainerID: listed.id, IfName: "eth0"}},
		}); err != nil {
			t.Errorf("GC: %v", err)
		}
	}
	gc()
	reaches(t, unlisted)
	time.Sleep(apart / faster)
	gc()
	if w := settled(t, 1); len(w) != 1 {
		t.Errorf("wires after the second GC: %s", w)
	}
	reaches(t, listed)
	// A pod whose namespace went without a DEL is found by the agent itself.
	listed.close()
	n.empty(t)
}

// TestTheAgentIsAway: an ADD waits a little for the next agent, and is then to be tried again; a DEL is done, as far as it can be, and the agent does the
// rest.
func TestTheAgentIsAway(t *testing.T) {
	n := newNode(t, cidr4)
	n.start(t, -1, 0)
	n.ready(t)
	s, late := n.sandbox(t, "web"), n.sandbox(t, "late")
	defer s.close()
	defer late.close()
	if err := n.add(s); err != nil {
		t.Fatal(err)
	}
	n.kill()
	err := n.add(late)
	if e := (*types.Error)(nil); !errors.As(err, &e) || e.Code != types.ErrTryAgainLater {
		t.Errorf("ADD: %v, want code 11", err)
	}
	for range 2 {
		if err := n.del(s); err != nil {
			t.Errorf("DEL: %v", err)
		}
	}
	if w := settled(t, 0); len(w) != 0 {
		t.Errorf("wires: %s", w)
	}
	if leases := n.leases(t); len(leases) != 1 {
		t.Errorf("leases: %v", leases)
	}
	waiting := make(chan error)
	go func() { waiting <- n.add(late) }()
	time.Sleep(200 * time.Millisecond) // so that the plugin finds nobody
	n.start(t, -1, 0)
	n.ready(t)
	if err := <-waiting; err != nil {
		t.Errorf("ADD just before the agent's start: %v", err)
	}
	if err := n.del(late); err != nil {
		t.Error(err)
	}
	n.empty(t)
}

// TestSeveralInterfaces: a pod has one of each network that delegates to us, as Multus does.
func TestSeveralInterfaces(t *testing.T) {
	n := newNode(t, cidr4)
	n.start(t, -1, 0)
	n.ready(t)
	tool, list := n.network(t, "1.0.0")
	s := n.sandbox(t, "web")
	defer s.close()
	for _, iface := range []string{"eth0", "net1", "net2"} {
		r, err := tool.AddNetworkList(t.Context(), list, s.conf(iface))
		if err != nil {
			t.Fatal(err)
		}
		result, err := types100.NewResultFromResult(r)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := netip.AddrFromSlice(result.IPs[0].Address.IP)
		s.addrs = append(s.addrs, a.Unmap())
	}
	distinct(t, []*sandbox{s})
	reaches(t, s)
	for _, iface := range []string{"net1", "eth0", "net2"} {
		if err := tool.CheckNetworkList(t.Context(), list, s.conf(iface)); err != nil {
			t.Error(err)
		}
		if err := tool.DelNetworkList(t.Context(), list, s.conf(iface)); err != nil {
			t.Error(err)
		}
	}
	n.empty(t)
}

// TestASandboxMadeAnew: a DEL for a pod's former sandbox leaves the wire that its next one has.
func TestASandboxMadeAnew(t *testing.T) {
	n := newNode(t, cidr4)
	n.start(t, -1, 0)
	n.ready(t)
	former, next := n.sandbox(t, "web"), n.sandbox(t, "web")
	defer former.close()
	defer next.close()
	for _, s := range []*sandbox{former, next} {
		if err := n.add(s); err != nil {
			t.Fatal(err)
		}
	}
	distinct(t, []*sandbox{former, next})
	if err := n.del(former); err != nil {
		t.Error(err)
	}
	reaches(t, next)
	if err := n.del(next); err != nil {
		t.Error(err)
	}
	n.empty(t)
}

// TestALostJournal: where the leases are gone, the addresses that the kernel knows to be pods' are passed over.
func TestALostJournal(t *testing.T) {
	n := newNode(t, cidr4)
	n.start(t, -1, 0)
	n.ready(t)
	var all []*sandbox
	for i := range 3 {
		s := n.sandbox(t, fmt.Sprint("web-", i))
		defer s.close()
		all = append(all, s)
		if err := n.add(s); err != nil {
			t.Fatal(err)
		}
	}
	n.kill()
	if err := os.RemoveAll(filepath.Join(n.dir, "leases")); err != nil {
		t.Fatal(err)
	}
	n.start(t, -1, 0)
	n.ready(t)
	s := n.sandbox(t, "next")
	defer s.close()
	if err := n.add(s); err != nil {
		t.Fatal(err)
	}
	distinct(t, append(all, s))
	for _, s := range append(all, s) {
		reaches(t, s)
		if err := n.del(s); err != nil {
			t.Error(err)
		}
	}
	n.empty(t)
}
