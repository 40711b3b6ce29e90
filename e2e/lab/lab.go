package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/e2e/lab/cluster"
)

// Lab is a cluster of nodes on this machine. Its methods may be called from several goroutines.
type Lab struct {
	dir     string
	owner   Process
	started time.Time

	children children
	closers  closers
	saving   sync.Mutex // one writer of the state file at a time
	adding   sync.Mutex // one number for one node
	closing  sync.Once

	mu      sync.Mutex // guards the rest
	options Options
	ready   bool
	init    *initProcess
	initID  Process
	root    *Host // the switch
	cluster *cluster.Cluster
	nodes   []*Node // by index
}

// Start starts a lab: the switch, the control plane with the manifests, the nodes and their agents. When it returns, every
// agent is ready and has all others for peers. After an error nothing is left but, in the error, the logs that explain it.
func Start(ctx context.Context, options Options) (*Lab, error) {
	if err := options.complete(); err != nil {
		return nil, fmt.Errorf("starting a lab: %w", err)
	}
	if err := options.findPrograms(ctx); err != nil {
		return nil, fmt.Errorf("starting a lab: %w", err)
	}
	if _, err := Sweep(); err != nil {
		return nil, fmt.Errorf("starting a lab: %w", err)
	}
	owner, err := findProcess(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("starting a lab: %w", err)
	}
	dir, err := newDir(options.Name, owner)
	if err != nil {
		return nil, fmt.Errorf("starting a lab: %w", err)
	}
	l := &Lab{options: options, dir: dir, owner: owner, started: time.Now()}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting lab %s: %w", options.Name, err), l.Close())
	}
	return l, nil
}

func (l *Lab) start(ctx context.Context) error {
	if err := l.startSwitch(); err != nil {
		return err
	}
	if !l.options.NoControlPlane {
		if err := l.startControlPlane(ctx); err != nil {
			return err
		}
	}
	if _, err := l.addNodes(ctx, l.options.Nodes); err != nil {
		return err
	}
	if !l.options.NoAgents && !l.options.NoControlPlane {
		if err := l.StartAgents(ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.ready = true
	l.mu.Unlock()
	l.say("the lab is up")
	return l.saveState()
}

// say tells of a step, with the time since the start.
func (l *Lab) say(format string, args ...any) {
	fmt.Fprintf(l.options.Out, "%6.1fs  %s\n", time.Since(l.started).Seconds(), fmt.Sprintf(format, args...))
}

func (l *Lab) startSwitch() error {
	init, err := startInit(l.options.Bin, l.dir)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.init = init
	l.mu.Unlock()
	id, err := findProcess(init.pid())
	if err != nil {
		return err
	}
	ns, err := namespacesOf(init.pid())
	if err != nil {
		return err
	}
	l.closers.add(ns)
	root := &Host{
		Name: switchName, Addresses: l.options.UnderlayFamilies.underlayAddresses(1),
		ns: ns, bin: l.options.Bin, children: &l.children,
	}
	if err := root.Do(func() error { return makeSwitch(l.options) }); err != nil {
		return err
	}
	if root.echo, err = root.serveEcho(); err != nil {
		return err
	}
	l.closers.add(root.echo)
	l.mu.Lock()
	l.root, l.initID = root, id
	l.mu.Unlock()
	l.say("switch: %s", join(root.Addresses))
	return l.saveState()
}

// Switch is what joins the nodes, and where the control plane runs.
func (l *Lab) Switch() *Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.root
}

// Dir is the lab's folder. It has the same path inside every host, and goes with the lab.
func (l *Lab) Dir() string { return l.dir }

// Cluster is the control plane; nil where there is none.
func (l *Lab) Cluster() *cluster.Cluster {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cluster
}

// Nodes are the lab's nodes, in the order of their numbers.
func (l *Lab) Nodes() []*Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.nodes)
}

// Node is the one of that name, or nil.
func (l *Lab) Node(name string) *Node {
	for _, n := range l.Nodes() {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Pods are the pods of all nodes.
func (l *Lab) Pods() []*Pod {
	var pods []*Pod
	for _, n := range l.Nodes() {
		pods = append(pods, n.Pods()...)
	}
	return pods
}

// Close ends the lab: every process, namespace and socket of it, and its folder. A second call does nothing.
func (l *Lab) Close() (err error) {
	l.closing.Do(func() { err = l.close() })
	return err
}

func (l *Lab) close() error {
	l.mu.Lock()
	control, init := l.cluster, l.init
	l.mu.Unlock()
	for _, p := range l.Pods() {
		p.leave()
	}
	var errs []error
	if control != nil {
		errs = append(errs, control.Stop())
	}
	if init != nil {
		l.children.waitAll()
		errs = append(errs, init.kill())
	}
	errs = append(errs, l.closers.Close(), removeLab(l.dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("ending lab %s: %w", l.options.Name, err)
	}
	return nil
}

// closers are what is to be closed at the end, last first.
type closers struct {
	mu  sync.Mutex
	all []io.Closer
}

func (c *closers) add(closer io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, closer)
}

func (c *closers) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, closer := range slices.Backward(c.all) {
		errs = append(errs, closer.Close())
	}
	c.all = nil
	return errors.Join(errs...)
}
