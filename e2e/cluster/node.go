package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// imported is the file in a node for which kubelet waits: all images are there.
const imported = "/run/images-imported"

// root is a node's root as the machine sees it.
func (c *Cluster) root(name string) string { return filepath.Join(c.dir, name, "root") }

// startNode makes a node out of a lab's and starts its programs. When it returns kubelet is starting, with all images there.
func (c *Cluster) startNode(ctx context.Context, n *lab.Node) error {
	if err := c.makeNode(n); err != nil {
		return fmt.Errorf("making node %s: %w", n.Name, err)
	}
	if err := c.bootNode(ctx, n); err != nil {
		return fmt.Errorf("starting node %s: %w", n.Name, err)
	}
	for _, archive := range c.images {
		if err := importImage(ctx, n, archive); err != nil {
			return err
		}
	}
	if c.options.Image != "" {
		for _, name := range c.warren.names {
			if err := importImage(ctx, n, c.options.Image, "--index-name", name); err != nil {
				return err
			}
		}
	}
	if _, err := n.Run(ctx, "touch", imported); err != nil {
		return err
	}
	c.say("%s: images are imported", n.Name)
	return nil
}

// nodeFile is what the first process of a node is told.
func (c *Cluster) nodeFile(name string) string { return filepath.Join(c.dir, name, "node.json") }

// makeNode writes what is on the node's disk.
func (c *Cluster) makeNode(n *lab.Node) error {
	group, err := node.MakeCgroups(c.options.Name, n.Name)
	if err != nil {
		return err
	}
	root := c.root(n.Name)
	spec := node.Spec{Root: root, Cgroup: group, Show: []string{c.programs.bin, c.programs.nodes}, Sysctls: sysctls, Units: c.units(n)}
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // as every machine's
		return err
	}
	if err := node.MakeRoot(root, spec.Show); err != nil {
		return err
	}
	if err := c.configureNode(n, root); err != nil {
		return err
	}
	return spec.Write(c.nodeFile(n.Name))
}

// bootNode starts the node's first process, and returns when containerd runs.
func (c *Cluster) bootNode(ctx context.Context, n *lab.Node) error {
	log, err := os.Create(c.nodeLog(n.Name))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := n.Command(context.WithoutCancel(ctx), "warren-lab", "cluster", "node", c.nodeFile(n.Name))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for who started us
	ready, said, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd.Stdout = said
	err = cmd.Start()
	if err := errors.Join(err, said.Close()); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // it ends with the node, and its log says why
	if line, err := bufio.NewReader(ready).ReadString('\n'); strings.TrimSpace(line) != node.Ready {
		return fmt.Errorf("its first process did not start: %w%s", err, tail(c.nodeLog(n.Name)))
	}
	pid, err := onlyChild(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := n.Enter(pid); err != nil {
		return err
	}
	_ = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, pace.Scale(30*time.Second), true, func(ctx context.Context) (bool, error) {
		_, err = n.Run(ctx, "ctr", "version")
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for containerd: %w", err)
	}
	c.say("%s: containerd runs", n.Name)
	return nil
}

func (c *Cluster) nodeLog(name string) string { return filepath.Join(c.dir, name, "node.log") }

// onlyChild is the process that another one has started.
func onlyChild(pid int) (int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	var children []string
	for _, list := range lists {
		content, err := os.ReadFile(list) //nolint:gosec // the kernel's
		if err != nil {
			return 0, fmt.Errorf("finding a node's first process: %w", err)
		}
		children = append(children, strings.Fields(string(content))...)
	}
	if len(children) != 1 {
		return 0, fmt.Errorf("finding a node's first process: process %d has %d children, not 1", pid, len(children))
	}
	return strconv.Atoi(children[0])
}

func importImage(ctx context.Context, n *lab.Node, archive string, options ...string) error {
	f, err := os.Open(archive) //nolint:gosec // whoever runs this chose it
	if err != nil {
		return fmt.Errorf("importing an image: %w", err)
	}
	defer f.Close()
	args := append([]string{"--namespace", "k8s.io", "images", "import", "--no-unpack"}, options...)
	cmd := n.Command(ctx, "ctr", append(args, "-")...)
	cmd.Stdin = f
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("importing %s on %s: %w\n%s", archive, n.Name, err, text)
	}
	return nil
}
