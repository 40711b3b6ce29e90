package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/warren-mesh/warren/e2e/cluster/image"
	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
)

// toolNames are the images that suites run their commands in: agnhost, in the versions that they ask for, and what they have beside it.
var toolNames = []string{
	"registry.k8s.io/e2e-test-images/agnhost:2.56",            // Kubernetes
	"registry.k8s.io/e2e-test-images/agnhost:2.45",            // network-policy-api
	"docker.io/mfenwick100/cyclonus-worker:latest",            // cyclonus
	"registry.k8s.io/e2e-test-images/jessie-dnsutils:1.7",     // DNS specs
	"registry.k8s.io/build-image/distroless-iptables:v0.7.14", // a spec of kube-proxy that wants conntrack
}

// tools are programs of this machine that commands in them call, as the published images have them.
var tools = []string{
	"awk", "bash", "cat", "conntrack", "curl", "cut", "date", "dd", "dig", "echo", "env", "getent", "grep", "head", "host", "hostname", "id", "ip", "ls",
	"mkdir", "nc", "nslookup", "ping", "rm", "sed", "seq", "sleep", "ss", "tail", "test", "timeout", "touch", "tr", "true", "uname", "wc", "wget",
}

// library matches a shared library in what ldd writes.
var library = regexp.MustCompile(`(/\S+) \(0x`)

// writeTools writes the image with agnhost and the tools.
func (h *house) writeTools(ctx context.Context) error {
	programs, err := assets.EnsureNodes(ctx, h.options.out)
	if err != nil {
		return err
	}
	passwd, nsswitch := h.path("passwd"), h.path("nsswitch.conf")
	err = errors.Join(
		os.WriteFile(passwd, []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644), //nolint:gosec // for everybody to read
		os.WriteFile(nsswitch, []byte("hosts: files dns\n"), 0o644),            //nolint:gosec // for everybody to read
	)
	if err != nil {
		return err
	}
	kubernetes, err := h.goCommand(ctx, kubernetesModule, "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	porter := filepath.Join(kubernetes, "test/images/agnhost/porter")
	files := map[string]string{
		"/agnhost": filepath.Join(programs, "agnhost"), "/worker": h.path("worker"), "/etc/passwd": passwd, "/etc/nsswitch.conf": nsswitch,
		// What the published agnhost has beside its program: a name server, and the certificate that it serves with.
		"/coredns": h.path("coredns"), "/localhost.crt": filepath.Join(porter, "localhost.crt"), "/localhost.key": filepath.Join(porter, "localhost.key"),
	}
	for _, tool := range tools {
		if err := addTool(ctx, files, tool); err != nil {
			return err
		}
	}
	files["/bin/sh"] = files["/bin/bash"]
	for _, pattern := range []string{"/lib/*/libnss_dns.so.2", "/lib/*/libnss_files.so.2"} { // what getent loads by itself
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, file := range found {
			files[file] = file
		}
	}
	return writeImage(h.path("tools.tar"), image.Image{Names: toolNames, Files: files, Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}})
}

// writeBusybox writes the image of specs that want a shell and its usual company. One of them wants busybox itself: its nc ends its own side of a connection
// at once, so that what comes long after is answered by who remembers the connection, and not by an RST.
func (h *house) writeBusybox(ctx context.Context) error {
	files := map[string]string{"/etc/passwd": h.path("passwd")} // as writeTools wrote it
	if err := addTool(ctx, files, "busybox"); err != nil {
		return err
	}
	applets, err := exec.CommandContext(ctx, files["/bin/busybox"], "--list").Output() //nolint:gosec // found above
	if err != nil {
		return fmt.Errorf("listing what busybox is: %w", err)
	}
	links := map[string]string{}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			links["/bin/"+applet] = "busybox"
		}
	}
	return writeImage(h.path("busybox.tar"), image.Image{
		Names: []string{"registry.k8s.io/e2e-test-images/busybox:1.37.0-1"}, Files: files, Links: links, Cmd: []string{"/bin/sh"},
	})
}

// addTool adds a program, as /bin/NAME, and the libraries that it is linked to, if any.
func addTool(ctx context.Context, files map[string]string, name string) error {
	program, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("finding a tool: %w (`.ci/deps conformance` installs what is missing)", err)
	}
	files["/bin/"+name] = program
	ldd := exec.CommandContext(ctx, "ldd", program) //nolint:gosec // of the lists above
	ldd.Env = append(os.Environ(), "LC_ALL=C")
	linked, err := ldd.CombinedOutput()
	if err != nil && !strings.Contains(string(linked), "not a dynamic executable") {
		return fmt.Errorf("finding the libraries of %s: %w: %s", program, err, linked)
	}
	for _, match := range library.FindAllStringSubmatch(string(linked), -1) {
		files[match[1]] = match[1]
	}
	return nil
}

// dnsManifest is CoreDNS on every node, behind the address that kubelets tell pods.
//
//go:embed coredns.yaml
var dnsManifest []byte

// writeServers writes the images with one program: CoreDNS, and the server of a spec of conntrack.
func (h *house) writeServers() error {
	const regression = "regression-issue-74839"
	return errors.Join(
		h.writeServer("coredns", "warren.dev/conformance/coredns:harness"),
		h.writeServer(regression, "registry.k8s.io/e2e-test-images/"+regression+":1.2"),
	)
}

func (h *house) writeServer(program, name string) error {
	return writeImage(h.path(program+".tar"), image.Image{
		Names: []string{name}, Files: map[string]string{"/" + program: h.path(program)}, Entrypoint: []string{"/" + program},
	})
}

func writeImage(file string, made image.Image) error {
	f, err := os.Create(file) //nolint:gosec // in the folder of what is built
	if err != nil {
		return err
	}
	return errors.Join(made.Write(f), f.Close())
}
