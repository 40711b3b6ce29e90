// Package cni is what the CNI plugin and the agent say to each other. A runtime starts the plugin for every pod, so what is in here
// starts quickly: the plugin hands its call over, and the agent, which can be upgraded under running pods, makes sense of it.
package cni

import "encoding/json"

const (
	// PluginName is the plugin's file, and its type in a network configuration.
	PluginName = "warren-cni"
	// URLPrefix is what the agent's socket is asked for a command under.
	URLPrefix = "/v1/cni/"
	// MaxSize bounds a request, an answer and the configuration on standard input, in bytes.
	MaxSize = 1 << 20
)

// Command is what a runtime wants.
type Command string

// The commands of the specification that the agent answers.
const (
	Add    Command = "add"
	Del    Command = "del"
	Check  Command = "check"
	GC     Command = "gc"
	Status Command = "status"
)

// Commands are all of them.
var Commands = []Command{Add, Del, Check, GC, Status}

// Codes of an ADD that failed, of those that the specification leaves to plugins.
const (
	// ErrNoAddress is that no address is free.
	ErrNoAddress uint = 100
	// ErrDenied is that the pod cannot have addresses as it asks for them.
	ErrDenied uint = 101
)

// Request is a call of the plugin as the runtime made it: its environment (CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS, CNI_ARGS) and
// its standard input.
type Request struct {
	ContainerID string          `json:"containerID,omitempty"`
	Interface   string          `json:"interface,omitempty"`
	NetNS       string          `json:"netns,omitempty"`
	Args        string          `json:"args,omitempty"`
	Config      json.RawMessage `json:"config"`
}
