package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
)

// Cluster is a running cluster.
type Cluster struct {
	// Lab has the underlay, the control plane and the nodes' networks. Commands on its nodes run inside the nodes.
	Lab *lab.Lab

	options  Options
	dir      string // of everything that is not the lab's
	programs programs
	images   []string // archives
	warren   struct {
		manifests [][]byte
		names     []string // by which they have its image
	}
	door    *door
	started time.Time
}

// programs are the folders with what runs.
type programs struct {
	bin   string // Warren's and the lab's
	nodes string // kubelet, kube-proxy, kube-scheduler, kubectl, agnhost
	cni   string // the reference plugins
}

// Start starts a cluster. When it returns, every node is Ready, but for those without a network, and a pod of the echo service runs on each. After an
// error nothing is left; the error says what did not come up, and has the ends of the logs about it.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if err := options.complete(); err != nil {
		return nil, fmt.Errorf("starting a cluster: %w", err)
	}
	if _, err := Sweep(); err != nil {
		return nil, fmt.Errorf("starting a cluster: %w", err)
	}
	dir, err := folder(options.Name)
	if err != nil {
		return nil, fmt.Errorf("starting a cluster: %w", err)
	}
	c := &Cluster{options: options, dir: dir, started: time.Now()}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting cluster %s: %w%s", options.Name, err, c.explanation(context.WithoutCancel(ctx))), c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.findPrograms(ctx); err != nil {
		return err
	}
	c.started = time.Now() // a build is no part of a start
	l, err := lab.Start(ctx, lab.Options{
		Name: c.options.Name, Nodes: c.options.Nodes, PodFamilies: c.options.Families, UnderlayFamilies: c.options.Families,
		NoAgents: true, Audit: true, Manifests: []string{}, Scheduler: filepath.Join(c.programs.nodes, "kube-scheduler"), Bin: c.programs.bin,
		Out: c.options.Out,
	})
	if err != nil {
		return err
	}
	c.Lab = l
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	if c.door, err = openDoor(context.WithoutCancel(ctx), l); err != nil {
		return err
	}
	if err := c.writeKubeconfig(); err != nil {
		return err
	}
	if err := c.makeImages(ctx); err != nil {
		return err
	}
	c.say("images are made")
	group, groupCtx := errgroup.WithContext(ctx)
	for _, n := range l.Nodes() {
		group.Go(func() error { return c.startNode(groupCtx, n) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, n := range l.Nodes() {
		if err := l.WaitPodCIDRs(ctx, n); err != nil {
			return err
		}
	}
	c.say("the nodes have registered")
	if c.options.CNI == None {
		return nil
	}
	return c.Install(ctx, c.options.CNI)
}

// Install gives the nodes of a cluster without a network one. It returns when all are Ready and run a pod of the echo service.
func (c *Cluster) Install(ctx context.Context, cni CNI) error {
	switch cni {
	case Reference:
		if err := c.configureReference(ctx); err != nil {
			return err
		}
	case Warren:
		if err := c.Lab.Cluster().Apply(ctx, c.warren.manifests...); err != nil {
			return err
		}
	case None:
		return errors.New("installing no network: that is what there is")
	}
	c.say("the network is installed: %s", cni)
	return c.Settle(ctx)
}

// Settle returns when the nodes, to which somebody has given a network, are Ready and run a pod of the echo service.
func (c *Cluster) Settle(ctx context.Context) error {
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	c.say("the nodes are Ready")
	if err := c.Lab.Cluster().Apply(ctx, echoManifest); err != nil {
		return err
	}
	if err := c.WaitDaemonSet(ctx, metav1.NamespaceDefault, "echo"); err != nil {
		return err
	}
	c.say("a pod runs on every node")
	return nil
}

func (c *Cluster) findPrograms(ctx context.Context) (err error) {
	if c.programs.nodes, err = assets.EnsureNodes(ctx, c.options.Out); err != nil {
		return err
	}
	if c.programs.cni, err = lab.BuildReferences(ctx, c.options.Out, "loopback", "ptp", "host-local", "portmap"); err != nil {
		return err
	}
	if bin := os.Getenv(lab.BinVariable); bin != "" {
		c.programs.bin, err = filepath.Abs(bin)
	} else {
		c.programs.bin, err = lab.Build(ctx, c.options.Out, false)
	}
	if err != nil {
		return err
	}
	if len(c.options.Manifests) == 0 {
		root, err := lab.Repository()
		if err != nil {
			return err
		}
		c.options.Manifests = []string{filepath.Join(root, "manifests", "base")}
	}
	c.warren.manifests, c.warren.names, err = readManifests(c.options.Manifests)
	if err == nil && len(c.warren.names) == 0 && c.options.CNI == Warren {
		err = fmt.Errorf("no container in %s has an image of Warren's: nothing would make the nodes Ready", strings.Join(c.options.Manifests, ", "))
	}
	return err
}

// Client is a client with every right.
func (c *Cluster) Client() kubernetes.Interface { return c.Lab.Cluster().Admin() }

// say tells of a step, with the time since the start.
func (c *Cluster) say(format string, args ...any) {
	fmt.Fprintf(c.options.Out, "%6.1fs  %s\n", time.Since(c.started).Seconds(), fmt.Sprintf(format, args...))
}

// Close ends the cluster: every process, mount, namespace and control group of it, and its folder.
func (c *Cluster) Close() error {
	var errs []error
	if c.door != nil {
		errs = append(errs, c.door.Close())
	}
	if c.Lab != nil {
		errs = append(errs, c.Lab.Close())
	}
	return errors.Join(append(errs, remove(c.options.Name))...)
}

// folder is where a cluster keeps what its lab does not.
func folder(name string) (string, error) {
	base, err := base()
	return filepath.Join(base, name), err
}

// base is the folder of all clusters. It is on a disk, which a lab's folder need not be: nodes unpack images in it.
func base() (string, error) {
	root, err := lab.Repository()
	return filepath.Join(root, ".cache", "clusters"), err
}

// remove removes what the cluster of that name, whose processes have ended, has left.
func remove(name string) error {
	dir, err := folder(name)
	if err != nil {
		return err
	}
	return errors.Join(node.RemoveCgroups(name), os.RemoveAll(dir))
}
