// Package job is what the virtual machine's maker and its first process tell each other.
package job

import (
	"fmt"
	"net/netip"
	"strings"
)

const (
	// File has the guest's [Setup], as JSON.
	File = "/jobs.json"
	// Output is the guest's serial port for what the tests print. The first port is the kernel's console.
	Output = "/dev/ttyS1"
	// Results is the one for results, one a line.
	Results = "/dev/ttyS2"
	// Up is the first line of Results: the kernel and its files work.
	Up = "up"
	// Begin is how a line of Output begins that has the name of the package whose tests follow.
	Begin = "==> "
)

// The addresses of QEMU's user networking.
const (
	GuestAddress = "10.0.2.15/24"
	HostAddress  = "10.0.2.2"
)

// Setup is all that the guest is told.
type Setup struct {
	Jobs []Job
	// Host is where the control planes run; nil where that is inside.
	Host *Host
	// Nodes are by name. A machine that is a node has its name in its environment, and no jobs.
	Nodes map[string]Node `json:",omitempty"`
}

// NodeVariable has the name of a machine that is a node.
const NodeVariable = "NODE_NAME"

// Node is a machine that is a node of a cluster.
type Node struct {
	Name     string
	Underlay netip.Prefix   // its address on the cable to the others, and their network
	API      netip.AddrPort // where the machine finds the API server
	// Kubeconfig is the content of the agent's, to be the file of that name.
	Kubeconfig string
	// PodName is its one pod's, in the namespace default, and Pod that one's address.
	PodName string
	Pod     netip.Addr
}

// Where a machine that is a node has Warren's programs, its agent's credential and its pod's network namespace.
const (
	Bin            = "/lab/bin"
	KubeconfigFile = "/root/kubeconfig"
	PodNetNS       = "/run/netns/p1"
)

// Host is a port of the host's loopback address, and what to say there first.
type Host struct {
	Port  int
	Token string
}

// Job is one package's tests.
type Job struct {
	// Package is the folder of the package in the repository.
	Package string
	// Dir has the test binary ("test") and the package's testdata in the guest.
	Dir string
	// Args are the test binary's, and Env is added to what every process has.
	Args, Env []string
}

// Result is how a job ended.
type Result struct {
	Package string
	Code    int
}

func (r Result) String() string { return fmt.Sprintf("%s %d", r.Package, r.Code) }

// ParseResult reads what Result.String wrote.
func ParseResult(line string) (r Result, ok bool) {
	n, err := fmt.Sscanf(strings.TrimSpace(line), "%s %d", &r.Package, &r.Code)
	return r, err == nil && n == 2
}
