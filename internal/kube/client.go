// Package kube is Warren's way to the Kubernetes API and the only importer of client-go: Nodes become mesh.Nodes,
// claims become annotations. It decides nothing, and logs through klog only.
package kube

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// fieldManager is who the agent is to server-side apply; what it applies is its own by that name.
	fieldManager = "warrend"
	// requestTimeout bounds each request for one object: a hanging API server must not hold a caller.
	requestTimeout = 10 * time.Second
	// dialTimeout is client-go's own.
	dialTimeout = 30 * time.Second
)

// keepAlive ends connections that lead nowhere after 45 s, as the pings of client-go's HTTP/2 do: HTTP/1.1 has none.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 3}

// What a caller may want to tell apart with errors.Is.
var (
	// ErrNodeGone says that the own Node is not there, or is not the one that the caller knows: it was made anew.
	ErrNodeGone = errors.New("the Node is not there, or was made anew")
	// ErrKeyTaken says that another Node holds the key. It will not go away by trying again.
	ErrKeyTaken = errors.New("the public key is taken by another Node")
	// ErrPodGone says that a pod is not there, or is not the one that the caller knows.
	ErrPodGone = errors.New("the Pod is not there, or is another by now")
	// ErrNoNodeKeys says that the API server does not know our own type.
	ErrNoNodeKeys = errors.New("the API server has no NodeKey (warren.dev/v1alpha1): install the CustomResourceDefinition nodekeys.warren.dev")
	// ErrBlockTaken says that another Node holds the block, or did until a while ago.
	ErrBlockTaken = errors.New("the block is taken")
	// ErrNoPools says that the API server does not know pools, blocks or reservations.
	ErrNoPools = errors.New("the API server has no IPPool, IPBlock or IPReservation (warren.dev/v1alpha1): install their CustomResourceDefinitions")
	// ErrDenied says that the API server lets the agent not read what it has to.
	ErrDenied = errors.New("the API server has refused to let this be read")
	// ErrNoServiceCIDRs says that the API server does not serve ServiceCIDR.
	ErrNoServiceCIDRs = errors.New("the API server has no ServiceCIDR (networking.k8s.io/v1, Kubernetes 1.33 and later): " +
		"give the service CIDRs by --service-cidr")
)

// Options say which API server and which Node.
type Options struct {
	// Kubeconfig is a file; empty for the Pod's ServiceAccount.
	Kubeconfig string
	// UserAgent is how the API server's logs call us, like "warrend/v0.1.0".
	UserAgent string
	// NodeName is the own Node's.
	NodeName string
	// WatchServiceCIDRs asks for Snapshot.ServiceCIDRs.
	WatchServiceCIDRs bool
	// WatchPools asks for Snapshot.Pools, Blocks and Reservations, for the blocks among the Nodes' grants, and for Own.Labels.
	WatchPools bool
}

// Client talks to the API server on behalf of one node. It is safe for concurrent use.
type Client struct {
	node         string
	serviceCIDRs bool
	pools        bool

	// Three, so that none starves the others: few and long requests, writes, and events, which may come in floods.
	reads kubernetes.Interface
	// metadata reads too.
	metadata metadata.Interface
	// objects reads what need not be of a type that we know.
	objects dynamic.Interface
	// rows reads Nodes as rows of a table.
	rows   rest.Interface
	writes kubernetes.Interface
	events kubernetes.Interface
	// ours are our own types.
	ours rest.Interface
	// dialer makes all their connections, so that Reconnect can end them.
	dialer *dialer

	readFailure lastFailure
}

// New makes a client. It reads files and sends nothing yet.
func New(o Options) (*Client, error) {
	if o.NodeName == "" {
		return nil, errors.New("making a Kubernetes client: no node name")
	}
	config, err := loadConfig(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return newClient(config, o)
}

// newClient dials as config does where it says how: a test's API server may be in another network namespace.
func newClient(config *rest.Config, o Options) (*Client, error) {
	config.UserAgent = o.UserAgent
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}).DialContext
	}
	dialer := newDialer(dial)
	config.Dial = dialer.DialContext
	client := &Client{node: o.NodeName, serviceCIDRs: o.WatchServiceCIDRs, pools: o.WatchPools, dialer: dialer}
	reads := coreConfig(config, -1, 0) // no limit of ours: the API server has its own for watches
	reads.Wrap(client.readFailure.wrap)
	var err error
	for _, c := range []struct {
		clients *kubernetes.Interface
		config  *rest.Config
	}{
		{&client.reads, reads},
		{&client.writes, coreConfig(config, 20, 40)},
		{&client.events, coreConfig(config, 5, 10)},
	} {
		if *c.clients, err = kubernetes.NewForConfig(c.config); err != nil {
			return nil, fmt.Errorf("making a Kubernetes client: %w", err)
		}
	}
	if client.metadata, err = metadata.NewForConfig(reads); err != nil {
		return nil, fmt.Errorf("making a Kubernetes client: %w", err)
	}
	if client.objects, err = dynamic.NewForConfig(coreConfig(config, -1, 0)); err != nil {
		return nil, fmt.Errorf("making a Kubernetes client: %w", err)
	}
	if client.rows, err = newRowClient(reads); err != nil {
		return nil, err
	}
	if client.ours, err = newOurClient(config, 20, 40); err != nil {
		return nil, err
	}
	return client, nil
}

// Reconnect ends the connections to the API server that have one of those addresses at this end; watches resume on new ones at once. It is to be
// called when the node has lost addresses: nothing else tells the old connections that they lead nowhere, and it would take them most of a
// minute to find out.
func (c *Client) Reconnect(gone []netip.Addr) { c.dialer.closeFrom(gone) }

func loadConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("reading the Pod's ServiceAccount (outside a cluster, give --kubeconfig): %w", err)
		}
		return config, nil
	}
	// Not BuildConfigFromFlags, and nothing "deferred": they answer an empty file with the in-cluster configuration.
	loaded, err := (&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}).Load()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", kubeconfig, err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*loaded, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// coreConfig is config for Kubernetes' own types: in protobuf, a third of the bytes and of the work.
func coreConfig(config *rest.Config, qps float32, burst int) *rest.Config {
	c := rest.CopyConfig(config)
	c.QPS, c.Burst = qps, burst
	c.ContentType = "application/vnd.kubernetes.protobuf"
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return c
}
