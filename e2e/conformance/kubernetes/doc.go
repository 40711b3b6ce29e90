// Package kubernetes is there for its go.mod: what it says of tools are Kubernetes' e2e tests, as they are, and the runner of their framework.
package kubernetes
