package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
)

// Starter starts cmd where the control plane should live: its network, mount and PID namespace. It must call
// cmd.Start, may change cmd before, and cmd.Process must be the program's own process: it is waited for and killed.
// The loopback interface must be up there and the ports 2379, 2380, 6443, 10257 and 10259 free.
type Starter func(cmd *exec.Cmd) error

// Dialer connects to an address as it is reached where the control plane lives.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Options say where a control plane runs and what it hands out.
type Options struct {
	Assets string // folder with etcd, kube-apiserver and kube-controller-manager
	Dir    string // working folder: data, certificates, credentials, logs. The caller makes and removes it

	// Addresses are those by which the API server is reached, all in its certificate. Credentials name the first; the
	// kubernetes Service advertises the first of its own family.
	Addresses []netip.Addr

	PodCIDRs     []netip.Prefix // one, or one of each family
	ServiceCIDRs []netip.Prefix // one, or one of each family

	NodeMask4, NodeMask6 int // prefix lengths of a node's pod CIDRs; 0: 24 and 64

	// Scheduler is the program kube-scheduler. Where it is set, pods run: there are all controllers, and the API server may speak to
	// kubelets.
	Scheduler string

	// Audit keeps a log of what agents ask, for [Cluster.Audit].
	Audit bool

	Start    Starter
	HTTPDial Dialer // nil: from here
}

// complete fills the defaults in and reports every mistake at once.
func (o *Options) complete() error {
	var errs []error
	if o.Assets == "" {
		errs = append(errs, errors.New("no Assets"))
	}
	if o.Dir == "" {
		errs = append(errs, errors.New("no Dir"))
	}
	if o.Start == nil {
		errs = append(errs, errors.New("no Start"))
	}
	if len(o.Addresses) == 0 {
		errs = append(errs, errors.New("no Addresses"))
	}
	errs = append(errs, checkFamilies("PodCIDRs", o.PodCIDRs), checkFamilies("ServiceCIDRs", o.ServiceCIDRs))
	if o.NodeMask4 == 0 {
		o.NodeMask4 = 24
	}
	if o.NodeMask6 == 0 {
		o.NodeMask6 = 64
	}
	if o.HTTPDial == nil {
		o.HTTPDial = (&net.Dialer{}).DialContext
	}
	return errors.Join(errs...)
}

func checkFamilies(name string, prefixes []netip.Prefix) error {
	if len(prefixes) == 1 || len(prefixes) == 2 && prefixes[0].Addr().Is4() != prefixes[1].Addr().Is4() {
		return nil
	}
	return fmt.Errorf("%s %v: one prefix or one of each family is needed", name, prefixes)
}
