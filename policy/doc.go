// Package policy turns Kubernetes' NetworkPolicies and ClusterNetworkPolicies into what the kernel should hold for the pods of one node.
//
// An [Index] takes pods, namespaces, nodes and policies one by one, in any order, and keeps a [Ruleset]; each change costs what it
// matches, and comes out as a [Delta]. A [World] is the same as a plain value, whose Judge answers from the specification alone
// whether a connection is allowed, and by which rule: it shares nothing with the compiler, so that each can be held against the other.
//
// Sources: the API reference of networking.k8s.io/v1 NetworkPolicy, and KEP-style documents of the network-policy-api project for
// policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy (NPEP-122, NPEP-133, NPEP-137, NPEP-187).
package policy
