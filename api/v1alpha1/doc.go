// Package v1alpha1 is the types of Warren's own objects in the Kubernetes API, group warren.dev.
//
// +kubebuilder:object:generate=true
// +groupName=warren.dev
package v1alpha1

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 object crd paths=. output:crd:dir=../../manifests/base
