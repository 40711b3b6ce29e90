// Package guard keeps a mesh.Guard in the kernel as the nftables table `inet warren-mesh`: pod traffic leaves a node by a lane
// or not at all, and nobody sends under another's address. It is independent of policy, and stays when the agent stops.
package guard
