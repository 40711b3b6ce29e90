// Package mesh is the pure core of Warren's network: from what all Kubernetes Nodes say ([Node]) and what is known of
// this one ([Local]), [Compute] makes the [Plan] of everything that this node's kernel should hold. It does no I/O.
//
// The way of a Node event: internal/kube turns the object into a [Node] by [ParseNode]; internal/agent calls [Compute];
// mesh/guard, mesh/wg and mesh/route bring the kernel to the plan, each by the [Diff] to what the kernel holds.
package mesh
