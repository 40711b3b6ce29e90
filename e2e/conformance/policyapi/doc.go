// Package policyapi runs the conformance suite of sigs.k8s.io/network-policy-api on the cluster of KUBECONFIG. It is a module of its own: the suite's
// Kubernetes libraries are others than Warren's.
package policyapi
