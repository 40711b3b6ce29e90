package wg

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/warren-mesh/warren/mesh/wg/internal/isolated"
	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

// TestMain is also the tunnel process that the default Spawn starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "tunnel" {
		os.Exit(runTunnel(os.Args[2:]))
	}
	os.Exit(isolated.Main(m))
}

func runTunnel(args []string) int {
	flags := flag.NewFlagSet("tunnel", flag.ContinueOnError)
	iface := flags.String("interface", "", "")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := tunnel.Run(ctx, tunnel.Options{Interface: *iface}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
