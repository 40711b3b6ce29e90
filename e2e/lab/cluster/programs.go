package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	etcdURL               = "https://127.0.0.1:2379"
	etcdPeerURL           = "https://127.0.0.1:2380"
	apiServerPort         = 6443
	controllerManagerPort = 10257

	// nodeIPAM is the controller that gives Nodes their pod CIDRs.
	nodeIPAM = "node-ipam-controller"
)

// controllers are those that the mesh relies on. The garbage collector removes what a deleted Node owned; the policies'
// status says what is wrong with their expressions.
var controllers = []string{nodeIPAM, "garbage-collector-controller", "namespace-controller", "serviceaccount-controller",
	"validatingadmissionpolicy-status-controller"}

func (c *Cluster) startEtcd(ctx context.Context) (err error) {
	cert, key, ca := c.pki.file("etcd.crt"), c.pki.file("etcd.key"), c.pki.file("etcd-ca.crt")
	c.etcd, err = c.run("etcd",
		"--name=lab", "--data-dir="+c.path("etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls="+etcdPeerURL, "--initial-advertise-peer-urls="+etcdPeerURL, "--initial-cluster=lab="+etcdPeerURL,
		"--cert-file="+cert, "--key-file="+key, "--trusted-ca-file="+ca, "--client-cert-auth",
		"--peer-cert-file="+cert, "--peer-key-file="+key, "--peer-trusted-ca-file="+ca, "--peer-client-cert-auth",
	)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.pki.file("etcd-client.crt"), c.pki.file("etcd-client.key"))
	if err != nil {
		return fmt.Errorf("loading etcd's client certificate: %w", err)
	}
	client := c.httpClient(c.pki.etcd, pair)
	defer client.CloseIdleConnections()
	return c.etcd.ready(ctx, func(ctx context.Context) error {
		_, err := get(ctx, client, etcdURL+"/health")
		return err
	})
}

func (c *Cluster) startAPIServer(ctx context.Context) error {
	audit, err := c.audit()
	if err != nil {
		return err
	}
	c.apiServer, err = c.run("kube-apiserver", append(slices.Concat(c.advertise(), c.kubeletAccess(), audit),
		"--secure-port="+strconv.Itoa(apiServerPort),
		"--etcd-servers="+etcdURL, "--etcd-cafile="+c.pki.file("etcd-ca.crt"),
		"--etcd-certfile="+c.pki.file("etcd-client.crt"), "--etcd-keyfile="+c.pki.file("etcd-client.key"),
		"--tls-cert-file="+c.pki.file("apiserver.crt"), "--tls-private-key-file="+c.pki.file("apiserver.key"),
		"--client-ca-file="+c.pki.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+c.pki.file("service-accounts.pub"),
		"--service-account-signing-key-file="+c.pki.file("service-accounts.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range="+join(c.options.ServiceCIDRs),
		"--allow-privileged=true", "--profiling=false",
	)...)
	if err != nil {
		return err
	}
	// Readiness includes the hook that makes RBAC's bootstrap roles.
	return c.apiServer.ready(ctx, func(ctx context.Context) error {
		_, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// advertise chooses where the API server listens, and the address in the kubernetes Service's endpoints. That has to be of
// the Service's family (the API server refuses to start otherwise); where we have none, it has no endpoints.
func (c *Cluster) advertise() []string {
	args := []string{"--bind-address=::"}
	if all4(c.options.Addresses) {
		args = []string{"--bind-address=0.0.0.0"}
	}
	for _, address := range c.options.Addresses {
		if address.Is4() == c.options.ServiceCIDRs[0].Addr().Is4() {
			return append(args, "--advertise-address="+address.String())
		}
	}
	return append(args, "--advertise-address="+c.options.Addresses[0].String(), "--endpoint-reconciler-type=none")
}

func (c *Cluster) startControllerManager(ctx context.Context) error {
	kubeconfig, err := c.certificateKubeconfig("controller-manager", subject{name: "system:kube-controller-manager"})
	if err != nil {
		return err
	}
	args := []string{
		"--kubeconfig=" + kubeconfig, "--use-service-account-credentials=true",
		"--controllers=" + strings.Join(c.controllers(), ","), "--leader-elect=false",
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(controllerManagerPort),
		"--tls-cert-file=" + c.pki.file("controller-manager.crt"), "--tls-private-key-file=" + c.pki.file("controller-manager.key"),
		"--allocate-node-cidrs=true", "--cluster-cidr=" + join(c.options.PodCIDRs),
		"--service-cluster-ip-range=" + join(c.options.ServiceCIDRs), "--profiling=false",
	}
	if c.options.Scheduler != "" {
		args = append(args, "--root-ca-file="+c.pki.file("ca.crt")) // pods find it in kube-root-ca.crt
	}
	for _, prefix := range c.options.PodCIDRs { // a mask for a family that is not there is refused
		if prefix.Addr().Is4() {
			args = append(args, "--node-cidr-mask-size-ipv4="+strconv.Itoa(c.options.NodeMask4))
		} else {
			args = append(args, "--node-cidr-mask-size-ipv6="+strconv.Itoa(c.options.NodeMask6))
		}
	}
	if c.controllerManager, err = c.run("kube-controller-manager", args...); err != nil {
		return err
	}
	client := c.httpClient(c.pki.cluster)
	defer client.CloseIdleConnections()
	// Each controller has a check of its own in the list, which is there once the controller has started.
	url, check := fmt.Sprintf("https://127.0.0.1:%d/healthz?verbose", controllerManagerPort), "[+]"+nodeIPAM+" ok"
	return c.controllerManager.ready(ctx, func(ctx context.Context) error {
		answer, err := get(ctx, client, url)
		if err == nil && !strings.Contains(answer, check) {
			err = fmt.Errorf("%s: no %q in: %s", url, check, answer)
		}
		return err
	})
}

func join(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		words[i] = prefix.String()
	}
	return strings.Join(words, ",")
}

func all4(addresses []netip.Addr) bool {
	for _, address := range addresses {
		if !address.Is4() {
			return false
		}
	}
	return true
}
