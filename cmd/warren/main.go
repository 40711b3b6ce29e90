// Command warren asks the agent on this node how the mesh is, and removes Warren from the node.
package main

import (
	"os"

	"github.com/warren-mesh/warren/internal/cli"
)

func main() { os.Exit(cli.Run()) }
