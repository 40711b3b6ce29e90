package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/warren-mesh/warren/e2e/lab"
)

// informerCommand makes this program the baseline: a process that does nothing but watch Nodes whole, as client-go does.
const informerCommand = "watch-nodes"

// syncedLine is what it prints when it has them all.
const syncedLine = "synced"

// watchNodes watches until ctx ends.
func watchNodes(ctx context.Context, kubeconfig string, out io.Writer) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	informer := coreinformers.NewNodeInformer(client, 0, nil)
	go informer.RunWithContext(ctx)
	select {
	case <-informer.HasSyncedChecker().Done():
		fmt.Fprintln(out, syncedLine)
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}

// fullWatch is that process.
type fullWatch struct {
	process
	cmd *lab.Cmd
}

// startFullWatch returns when the informer has synced.
func startFullWatch(ctx context.Context, n *lab.Node, kubeconfig string) (*fullWatch, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := n.Command(context.WithoutCancel(ctx), self, informerCommand, kubeconfig)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the Node informer: %w", err)
	}
	w := &fullWatch{process{cmd.Process.Pid}, cmd}
	line, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != syncedLine {
		return nil, errors.Join(fmt.Errorf("waiting for the Node informer: it says %q", line), err, w.stop())
	}
	return w, nil
}

func (w *fullWatch) stop() error {
	err := w.cmd.Process.Kill()
	_ = w.cmd.Wait() // it was killed
	return err
}
