// Command remote stands in the virtual machine for a program of the control plane, by whose name it is called.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/warren-mesh/warren/e2e/vm/outside"
)

func main() {
	code, err := outside.StandIn(filepath.Base(os.Args[0]), os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "remote:", err)
		code = 1
	}
	os.Exit(code)
}
