// Package lab puts a cluster of nodes on one machine, for tests and for people.
//
// A lab is one PID namespace. Its init's network namespace is the switch: a bridge that joins the nodes, on which the
// control plane listens. A node is a network, a mount and a UTS namespace with its own /run and /var/lib/warren, a
// kubelet's credential and a Node object; a pod is another one, which comes in through the CNI plugin and has a Pod object.
// Agents run with the product's defaults, and enforce policy. Everything is anonymous and hangs on the process that started
// the lab: when that goes, however it goes, init reads the end of a pipe, and the kernel ends every process of the lab and
// frees every namespace. Only a folder is left, which [Sweep] removes.
//
// Nothing of the machine itself is changed: no interface, mount, sysctl or firewall rule of its own.
package lab
