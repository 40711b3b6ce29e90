package cluster

import (
	"context"
	"fmt"
	"strconv"
)

const schedulerPort = 10259

// controllers are those that run: where pods do, all that are on by default.
func (c *Cluster) controllers() []string {
	if c.options.Scheduler != "" {
		return []string{"*"}
	}
	return controllers
}

// kubeletAccess lets the API server speak to kubelets, for logs and exec.
func (c *Cluster) kubeletAccess() []string {
	if c.options.Scheduler == "" {
		return nil
	}
	return []string{
		"--kubelet-client-certificate=" + c.pki.file("kubelet-client.crt"), "--kubelet-client-key=" + c.pki.file("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
	}
}

func (c *Cluster) startScheduler(ctx context.Context) error {
	kubeconfig, err := c.certificateKubeconfig("scheduler", subject{name: "system:kube-scheduler"})
	if err != nil {
		return err
	}
	c.scheduler, err = c.runProgram(c.options.Scheduler,
		"--kubeconfig="+kubeconfig, "--leader-elect=false", "--profiling=false",
		"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(schedulerPort),
		"--tls-cert-file="+c.pki.file("scheduler.crt"), "--tls-private-key-file="+c.pki.file("scheduler.key"),
	)
	if err != nil {
		return err
	}
	client := c.httpClient(c.pki.cluster)
	defer client.CloseIdleConnections()
	return c.scheduler.ready(ctx, func(ctx context.Context) error {
		_, err := get(ctx, client, fmt.Sprintf("https://127.0.0.1:%d/healthz", schedulerPort))
		return err
	})
}

// ProxyKubeconfig writes kube-proxy's credential, which is the same on all nodes.
func (c *Cluster) ProxyKubeconfig() (string, error) {
	return c.certificateKubeconfig("kube-proxy", subject{name: "system:kube-proxy"})
}

// AuthorityFile is the certificate of the authority by which everybody of the cluster is known.
func (c *Cluster) AuthorityFile() string { return c.pki.file("ca.crt") }
