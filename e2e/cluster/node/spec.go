// Package node is a node of a cluster from inside: its control groups, its root and the programs that a machine's first process keeps
// running. It knows nothing of Kubernetes.
package node

import (
	"encoding/json"
	"fmt"
	"os"
)

// Spec is what the first process of a node is told.
type Spec struct {
	// Root is the node's root: a folder of the machine that goes with the node.
	Root string `json:"root"`
	// Cgroup is the node's control group, the same in every hierarchy.
	Cgroup string `json:"cgroup"`
	// Show are folders of the machine that are seen in the node under the same path, and cannot be written to there.
	Show []string `json:"show"`
	// Sysctls are what programs on the node find in files below /proc/sys of the machine's own, and may write to without effect: those that are not
	// named here they can only read. What is the network's is the node's.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Units are started one after the other.
	Units []Unit `json:"units"`
}

// Unit is a program that runs on the node, and is started again a second after it ended.
type Unit struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	// After is a file for which the first start waits.
	After string `json:"after,omitempty"`
}

// Write puts the specification into a file.
func (s Spec) Write(file string) error {
	content, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing what a node is: %w", err)
	}
	return nil
}

func read(file string) (Spec, error) {
	var s Spec
	content, err := os.ReadFile(file) //nolint:gosec // of whoever makes the node
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		return s, fmt.Errorf("reading what a node is: %w", err)
	}
	return s, nil
}
