// Package nft holds a policy.Ruleset in the kernel, as `table inet warren-policy`.
//
// What a pod sends goes through its egress chain and what is sent to it through its ingress chain, both in `forward`, after every DNAT; what it
// sends to its own node goes through its host chain, in `input`. A verdict map finds the chain, and one that has no entry for an interface drops:
// a pod whose rules are not there yet has no network. What the node itself sends passes, kubelet's probes among it.
package nft
