// Command build prints the folder with the control plane's programs (etcd, kube-apiserver, kube-controller-manager,
// kubectl) or, with -nodes, with those of nodes (kubelet, kube-proxy, kube-scheduler, kubectl, agnhost), and builds them first where they
// are not there yet. Progress goes to standard error.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
)

func main() {
	os.Exit(run())
}

func run() int {
	nodes := flag.Bool("nodes", false, "the programs of nodes, not those of the control plane")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ensure := assets.Ensure
	if *nodes {
		ensure = assets.EnsureNodes
	}
	dir, err := ensure(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, dir)
	return 0
}
