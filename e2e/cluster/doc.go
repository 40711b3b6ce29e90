// Package cluster puts a whole Kubernetes cluster on one machine: a lab's underlay and control plane, with all controllers and the scheduler, and nodes on
// which a real containerd, kubelet and kube-proxy run pods from images.
//
// A node is what it is in package lab, and around its programs a PID, IPC, mount and cgroup namespace more, with a root of its own: of the machine it sees
// /usr and the devices. Nothing is pulled: images are archives that are imported on every node.
//
// Of the machine itself nothing is changed. The nodes' control groups are the cluster's own; they and its folder are what a killed
// cluster leaves, and what [Sweep] removes.
package cluster
