// Package command is what the benches' commands have in common: flags, a folder for what they find, and an end by Ctrl-C.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/warren-mesh/warren/e2e/lab"
)

// Options are a bench's own, as the flags say.
type Options interface {
	AddFlags(fs *flag.FlagSet)
	// Validate names what is wrong.
	Validate() error
}

// Place is where a bench runs, and what it writes to: the table to Stdout, progress to Stderr, JSON into the folder Out.
type Place struct {
	Root, Out      string
	Stdout, Stderr io.Writer
}

// Run reads the options, runs the bench until it ends or a signal comes, and gives the command's exit code.
func Run(name string, o Options, bench func(context.Context, Place) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	place := Place{Stdout: os.Stdout, Stderr: os.Stderr}
	err := parse(name, os.Args[1:], o, &place)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = bench(ctx, place)
	}
	if err != nil {
		fmt.Fprintf(place.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func parse(name string, args []string, o Options, place *Place) (err error) {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(place.Stderr)
	o.AddFlags(fs)
	fs.StringVar(&place.Out, "out", "", "folder of the JSON file (default bench/out in the repository)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if place.Root, err = lab.Repository(); err != nil {
		return err
	}
	if place.Out == "" {
		place.Out = filepath.Join(place.Root, "bench", "out")
	}
	return o.Validate()
}
