// Package outside lets a lab inside a virtual machine have its control plane outside of it: under emulation an API server takes two
// minutes to start, and then takes the processor from what is tested. In the machine, a program of the control plane is a stand-in
// of that name: it has the host run the program with the same arguments and files, listens where the program would, and lives as
// long as the program does. Who kills the stand-in has killed the program.
package outside

// Socket is where the guest's first process takes connections to the host, in any network namespace of the guest.
const Socket = "/lab/host.sock"

// Request is the first line of a connection to the host, as JSON, after the line with the machine's token.
type Request struct {
	// Dir is the stand-in's working folder: one control plane's.
	Dir string
	// Run asks to run a program of the control plane. The answer is a sequence of [Event].
	Run *Run `json:",omitempty"`
	// Port asks for a connection to the loopback address where the control plane runs. What follows is the connection's.
	Port int `json:",omitempty"`
	// Node says that the machine is that node. What follows are the host's [Command] and the machine's [Answer] in turn, as JSON.
	Node string `json:",omitempty"`
}

// Command is a line for the shell of a machine that is a node.
type Command struct{ Line string }

// Answer is how a command went: what it printed and said, and its exit code.
type Answer struct {
	Output string
	Code   int
}

// Run is a program with what it needs. Dir in the arguments stands for the folder where the host puts the files.
type Run struct {
	Name string
	Args []string
	// Files are contents by path below Dir.
	Files map[string][]byte
	// Store is the state of etcd's store to begin with, as an [Event] named it; empty for a new one.
	Store string `json:",omitempty"`
}

// Event is what happens to a program that runs.
type Event struct {
	Output []byte `json:",omitempty"`
	// Store names what etcd's store will be when the program has ended. The stand-in keeps the name where the store would be, so that
	// who copies that folder, and puts the copy back later, does it to the store.
	Store string `json:",omitempty"`
	// Ended is the last event's.
	Ended bool `json:",omitempty"`
	Code  int  `json:",omitempty"`
}

// Ports are where the programs listen; those that only the control plane itself uses on the loopback address.
var Ports = map[string]struct {
	Port     int
	Loopback bool
}{
	"etcd":                    {2379, true},
	"kube-apiserver":          {6443, false},
	"kube-controller-manager": {10257, true},
}
