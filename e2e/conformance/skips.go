package main

import (
	"errors"
	"regexp"

	"golang.org/x/sys/unix"
)

// skip is why cases that match are not run: nothing that a network plugin does would change what they find.
type skip struct {
	match  *regexp.Regexp
	reason string
}

// skips are of Kubernetes' specs, in the order in which they are looked at.
func skips() []skip {
	all := []skip{
		{regexp.MustCompile(`\[Feature:LoadBalancer\]`), "needs a cloud's load balancers"},
		{regexp.MustCompile(`\[Provider:GCE\]`), "needs GCE"},
		{regexp.MustCompile(`\[Feature:Networking-(IPv4|IPv6|DNS)\]`), "needs the Internet"},
		{regexp.MustCompile(`\[Feature:(Networking-Performance|PerformanceDNS)\]`), "measures, and does not judge"},
		{regexp.MustCompile(`\[Feature:KubeProxyDaemonSetMigration\]|\[Disruptive\]`), "restarts kube-proxy or the API server, or breaks nodes' rules, by SSH"},
		{regexp.MustCompile(`DNS configMap`), "reconfigures a DNS server that was installed by kubeadm"},
		{regexp.MustCompile(`\[Feature:KubeProxyNFAcct\]`), "counts in kube-proxy's iptables mode; nodes have its nftables mode"},
		{regexp.MustCompile(`\[Feature:OffByDefault\]`), "tries a feature gate that is off"},
	}
	if !hasSCTP() {
		all = append(all, skip{regexp.MustCompile(`\[Feature:SCTPConnectivity\]`), noSCTP})
	}
	return all
}

const noSCTP = "needs SCTP sockets, which this machine's kernel has not"

// hasSCTP says whether programs can speak SCTP here.
func hasSCTP() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return !errors.Is(err, unix.EPROTONOSUPPORT)
	}
	_ = unix.Close(fd) // nothing was done by it
	return true
}
