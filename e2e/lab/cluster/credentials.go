package cluster

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// The agent's ServiceAccount, as the manifests have it.
const (
	agentNamespace = "kube-system"
	agentName      = "warren"
)

// tokenSeconds is an agent token's life. A kubelet would renew its pods' tokens; here nobody does, and a lab that is left
// up over some days should go on working.
const tokenSeconds int64 = 7 * 24 * 3600

// Admin is a client with every right, for what a test or a person does to the cluster. Never for an agent.
func (c *Cluster) Admin() kubernetes.Interface { return c.client }

// AdminConfig is what Admin is made from, with Dial set.
func (c *Cluster) AdminConfig() *rest.Config { return rest.CopyConfig(c.admin) }

// AdminKubeconfig is the admin's credential as a file, for kubectl.
func (c *Cluster) AdminKubeconfig() string { return c.path("credentials/admin.kubeconfig") }

// NodeKubeconfig writes a kubelet's credential: a client certificate for system:node:NAME in system:nodes.
func (c *Cluster) NodeKubeconfig(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	return c.certificateKubeconfig("node-"+name, subject{name: "system:node:" + name, groups: []string{"system:nodes"}})
}

// AgentKubeconfig writes the credential that an agent has as a pod on that Node: a token of the ServiceAccount
// kube-system/warren bound to the Node, which must be there. The token's claims name the Node, and it is void once the
// Node is deleted.
func (c *Cluster) AgentKubeconfig(ctx context.Context, node string) (string, error) {
	if err := checkName(node); err != nil {
		return "", err
	}
	object, err := c.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("binding a token to Node %s: %w", node, err)
	}
	expiration := tokenSeconds
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &expiration,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: object.UID},
	}}
	request, err = c.client.CoreV1().ServiceAccounts(agentNamespace).CreateToken(ctx, agentName, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token of %s/%s: %w", agentNamespace, agentName, err)
	}
	return c.writeKubeconfig("agent-"+node, &api.AuthInfo{Token: request.Status.Token})
}

// newAdmin issues and writes the admin's credential and makes the client from it that everything here uses.
func (c *Cluster) newAdmin() error {
	file, err := c.certificateKubeconfig("admin", subject{name: "admin", groups: []string{"system:masters"}})
	if err != nil {
		return err
	}
	if c.admin, err = clientcmd.BuildConfigFromFlags("", file); err != nil {
		return fmt.Errorf("reading the admin's credential: %w", err)
	}
	c.admin.Dial = c.options.HTTPDial
	c.admin.QPS = -1 // no limit: tests make many objects at once
	c.admin.UserAgent = "warren-lab"
	if c.client, err = kubernetes.NewForConfig(c.admin); err != nil {
		return fmt.Errorf("making the admin's client: %w", err)
	}
	return nil
}

func (c *Cluster) certificateKubeconfig(file string, who subject) (string, error) {
	pair, err := c.pki.cluster.issue(who)
	if err != nil {
		return "", err
	}
	return c.writeKubeconfig(file, &api.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key})
}

// writeKubeconfig puts a credential for this cluster into credentials/NAME.kubeconfig and returns its path. Who reads it while another writes it anew finds
// it whole.
func (c *Cluster) writeKubeconfig(name string, user *api.AuthInfo) (string, error) {
	content, err := clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{"lab": {Server: c.url(), CertificateAuthorityData: c.pki.cluster.pem}},
		AuthInfos:      map[string]*api.AuthInfo{name: user},
		Contexts:       map[string]*api.Context{"lab": {Cluster: "lab", AuthInfo: name}},
		CurrentContext: "lab",
	})
	if err != nil {
		return "", fmt.Errorf("encoding the credential %s: %w", name, err)
	}
	file := c.path("credentials/" + name + ".kubeconfig")
	if err := renameio.WriteFile(file, content, 0o600); err != nil {
		return "", fmt.Errorf("writing the credential %s: %w", name, err)
	}
	return file, nil
}

// url is the API server's.
func (c *Cluster) url() string {
	return "https://" + net.JoinHostPort(c.options.Addresses[0].String(), strconv.Itoa(apiServerPort))
}

// checkName keeps what would not be a Node's name out of file names.
func checkName(node string) error {
	if errs := validation.IsDNS1123Subdomain(node); len(errs) > 0 {
		return fmt.Errorf("node name %q: %s", node, strings.Join(errs, "; "))
	}
	return nil
}
