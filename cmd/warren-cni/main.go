// Command warren-cni is the CNI plugin: it hands the runtime's calls to the agent on this node, and its answers back. What it does
// without the agent is to delete: no pod waits for one that is away.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/cni"
	build "github.com/warren-mesh/warren/internal/version"
)

func main() { os.Exit(run()) }

func run() int {
	e := boundStdin()
	if e == nil {
		p := plugin{out: os.Stdout}
		e = skel.PluginMainFuncsWithError(skel.CNIFuncs{Add: p.add, Del: p.del, Check: p.check, GC: p.gc, Status: p.status},
			version.PluginSupports("0.3.1", "0.4.0", "1.0.0", "1.1.0"), "CNI plugin warren-cni "+build.String())
	}
	if e == nil {
		return 0
	}
	if err := e.Print(); err != nil {
		fmt.Fprintln(os.Stderr, "warren-cni: printing the error:", err, e)
	}
	return 1
}

// boundStdin reads standard input, which skel reads whole however long it is, and puts what was read in its place.
func boundStdin() *types.Error {
	if command := os.Getenv("CNI_COMMAND"); command == "" || command == "VERSION" {
		return nil // It is not read.
	}
	text, err := io.ReadAll(io.LimitReader(os.Stdin, cni.MaxSize+1))
	if err != nil {
		return types.NewError(types.ErrIOFailure, "reading the network configuration from standard input", err.Error())
	}
	if len(text) > cni.MaxSize {
		return types.NewError(types.ErrDecodingFailure, fmt.Sprintf("the network configuration has more than %d bytes", cni.MaxSize), "")
	}
	again, err := inMemory(text)
	if err != nil {
		return types.NewError(types.ErrIOFailure, "keeping the network configuration", err.Error())
	}
	os.Stdin = again
	return nil
}

// inMemory is a file that holds a text, to be read from its beginning. A pipe would take a thread that writes to it.
func inMemory(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "stdin")
	if _, err := file.WriteAt(text, 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
