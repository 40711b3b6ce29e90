package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/e2e/vm/job"
	"github.com/warren-mesh/warren/e2e/vm/outside"
	"github.com/warren-mesh/warren/internal/podnet"
)

// node makes the machine a node of a cluster, less its agent, and does what the host says until the host has gone.
func node(n job.Node) error {
	if err := becomeNode(n); err != nil {
		return fmt.Errorf("becoming node %q: %w", n.Name, err)
	}
	host, err := outside.Connect(outside.Request{Node: n.Name})
	if err != nil {
		return err
	}
	commands, answers := json.NewDecoder(host), json.NewEncoder(host)
	for {
		var c outside.Command
		if err := commands.Decode(&c); err != nil {
			return err
		}
		if err := answers.Encode(answer(c)); err != nil {
			return err
		}
	}
}

func becomeNode(n job.Node) error {
	for _, words := range []string{
		"ip link set eth1 up", "ip address add " + n.Underlay.String() + " dev eth1",
		"ip address add " + n.API.Addr().String() + "/32 dev lo",
		"mkdir -p -m 0700 /var/lib/warren", "ip netns add " + filepath.Base(job.PodNetNS), "ip -n " + filepath.Base(job.PodNetNS) + " link set lo up",
	} {
		fields := strings.Fields(words)
		if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil { //nolint:gosec,noctx // our words
			return fmt.Errorf("%s: %w: %s", words, err, out)
		}
	}
	if err := attachPod(n.PodName, n.Pod); err != nil {
		return err
	}
	if err := os.WriteFile(job.KubeconfigFile, []byte(n.Kubeconfig), 0o600); err != nil {
		return err
	}
	if err := os.Setenv("PATH", job.Bin+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	return outside.Forward(n.API.String(), outside.Request{Port: int(n.API.Port())})
}

// attachPod attaches the pod as the product does it.
func attachPod(name string, addr netip.Addr) error {
	const mtu = 1440 // the underlay's 1500, less WireGuard's over IPv4
	_, err := podnet.Attach(podnet.Spec{
		NetNS: job.PodNetNS, Interface: "eth0", Namespace: "default", Name: name, Addresses: []netip.Addr{addr}, MTU: mtu,
	})
	return err
}

// answer runs a command. What it starts in the background lives on.
func answer(c outside.Command) outside.Answer {
	out, err := exec.Command("sh", "-c", c.Line).CombinedOutput() //nolint:gosec,noctx // the host's words
	var exit *exec.ExitError
	switch {
	case err == nil:
		return outside.Answer{Output: string(out)}
	case errors.As(err, &exit):
		return outside.Answer{Output: string(out), Code: exit.ExitCode()}
	}
	return outside.Answer{Output: string(out) + err.Error(), Code: 1}
}
