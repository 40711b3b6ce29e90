// Command image builds Warren's container image without a container runtime: static programs and nothing else, for every platform, as an
// OCI image layout in one tar file, with a bill of materials of each platform. The same sources, flags and Go give the same bytes. It is a
// module of its own, so that the product does not depend on the libraries of images.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	o.addFlags(flag.CommandLine)
	digest := flag.Bool("digest", false, "build nothing: print the digest of the image in -out")
	flag.Parse()
	if err := do(ctx, o, *digest); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		return 1
	}
	return 0
}

func do(ctx context.Context, o options, digest bool) error {
	if digest {
		found, err := digestOf(o.out)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, found)
		return nil
	}
	r, err := o.validate()
	if err != nil {
		return fmt.Errorf("nothing was built, because of the flags:\n%w", err)
	}
	index, err := r.build(ctx)
	if err != nil {
		return err
	}
	return describe(os.Stdout, r.tag, index)
}
