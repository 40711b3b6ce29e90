package lab

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
)

// Families are address families.
type Families string

// The families that pods or the underlay have.
const (
	IPv4 Families = "ipv4"
	IPv6 Families = "ipv6"
	Dual Families = "dual"
)

func (f Families) has4() bool { return f != IPv6 }
func (f Families) has6() bool { return f != IPv4 }

// choose leaves out the prefixes of families that f does not have.
func (f Families) choose(prefixes ...string) []netip.Prefix {
	var chosen []netip.Prefix
	for _, s := range prefixes {
		p := netip.MustParsePrefix(s)
		if p.Addr().Is4() && f.has4() || p.Addr().Is6() && f.has6() {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// Options say what a lab is like. The zero value is a lab of no nodes, IPv4 throughout.
type Options struct {
	// Name tells labs apart that run at the same time; default "warren".
	Name string
	// Nodes is how many nodes there are at the start: n1, n2, ...
	Nodes int
	// PodFamilies and UnderlayFamilies are what pods and nodes have addresses of; default IPv4.
	PodFamilies, UnderlayFamilies Families
	// PodCIDRs and ServiceCIDRs are the cluster's; default 10.244.0.0/16, fd00:10:244::/48, 10.96.0.0/16 and
	// fd00:10:96::/112, as far as PodFamilies goes. A node has a /24 and a /64.
	PodCIDRs, ServiceCIDRs []netip.Prefix
	// NodeMask4 is the length of a node's IPv4 pod CIDR; 0 is 24.
	NodeMask4 int
	// WireGuard is the agents' --wireguard; default auto.
	WireGuard string
	// ListenPort is the agents' --listen-port; 0 is 51820.
	ListenPort uint16
	// NoPolicy is the agents' --policy=false. Otherwise they enforce policies, which is their default.
	NoPolicy bool
	// AgentArgs go to every agent.
	AgentArgs []string
	// UnderlayMTU is in bytes; 0 is 1500.
	UnderlayMTU int
	// Offload leaves segmentation to the links. Without it every frame is of the size that it would have on a wire, which
	// costs throughput.
	Offload bool
	// StrictRPFilter turns on the strict reverse-path filter on all links of the nodes.
	StrictRPFilter bool
	// NoAgents leaves the agents to be started by [Node.StartAgent].
	NoAgents bool
	// NoControlPlane leaves the API server out, and with it the Node objects and the agents. The lab gives out pod CIDRs.
	NoControlPlane bool
	// Scheduler is the program kube-scheduler, for nodes on which real kubelets are to run: the control plane runs pods then, and
	// the Node objects are the kubelets' to make.
	Scheduler string
	// Audit keeps a log of what agents ask the API server, for Cluster().Audit.
	Audit bool
	// Manifests are files and folders to apply. Nil is manifests/base of the repository, none is an empty slice.
	Manifests []string
	// Bin is the folder with warrend, warren, warren-cni and warren-lab; default $WARREN_BIN, or bin/ of the repository, which is
	// then brought up to date first.
	Bin string
	// Assets is the folder with the control plane's programs; by default it is found, and built where need be.
	Assets string
	// Out gets a line for every step; default none.
	Out io.Writer
}

// namePattern keeps names usable as host names and folders.
var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// maxNodes is how many addresses there are on the underlay.
const maxNodes = 200

// complete fills the defaults in and reports every mistake at once.
func (o *Options) complete() error {
	setDefault(&o.Name, DefaultName)
	setDefault(&o.PodFamilies, IPv4)
	setDefault(&o.UnderlayFamilies, IPv4)
	setDefault(&o.WireGuard, "auto")
	setDefault(&o.ListenPort, 51820)
	setDefault(&o.UnderlayMTU, 1500)
	if o.Out == nil {
		o.Out = io.Discard
	}
	var errs []error
	for name, f := range map[string]Families{"PodFamilies": o.PodFamilies, "UnderlayFamilies": o.UnderlayFamilies} {
		if f != IPv4 && f != IPv6 && f != Dual {
			errs = append(errs, fmt.Errorf("%s %q: want ipv4, ipv6 or dual", name, f))
		}
	}
	if len(o.PodCIDRs) == 0 {
		o.PodCIDRs = o.PodFamilies.choose("10.244.0.0/16", "fd00:10:244::/48")
	}
	if len(o.ServiceCIDRs) == 0 {
		o.ServiceCIDRs = o.PodFamilies.choose("10.96.0.0/16", "fd00:10:96::/112")
	}
	if !namePattern.MatchString(o.Name) {
		errs = append(errs, fmt.Errorf("name %q: want at most 63 of a-z, 0-9 and -, not at either end", o.Name))
	}
	if o.Nodes < 0 || o.Nodes > maxNodes {
		errs = append(errs, fmt.Errorf("nodes %d: want 0 to %d", o.Nodes, maxNodes))
	}
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("a lab makes network namespaces: it has to be started by root"))
	}
	return errors.Join(errs...)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// DefaultName is the lab that people mean who name none.
const DefaultName = "warren"

// Base is the folder with the labs' folders.
func Base() string {
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	if runtime == "" {
		runtime = "/run"
	}
	return filepath.Join(runtime, "warren-lab")
}
