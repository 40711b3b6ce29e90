package pods

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
)

// TestBadInput: every field missing, malformed or hostile, with and without an agent: a code of the specification, and nothing is touched.
func TestBadInput(t *testing.T) {
	n := newNode(t, cidr4)
	s := n.sandbox(t, "web")
	defer s.close()
	file, fifo := filepath.Join(n.dir, "file"), "/dev/zero"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		env     = types.ErrInvalidEnvironmentVariables
		version = types.ErrIncompatibleCNIVersion
		decode  = types.ErrDecodingFailure
		config  = types.ErrInvalidNetworkConfig
		netns   = types.ErrInvalidNetNS
	)
	calls := map[string]struct {
		command string
		set     string // of the environment
		stdin   string
		code    uint
	}{
		"no container ID":               {"ADD", "CNI_CONTAINERID=", "", env},
		"a container ID with ../":       {"ADD", "CNI_CONTAINERID=../../etc/passwd", "", env},
		"a container ID with a slash":   {"DEL", "CNI_CONTAINERID=a/b", "", env},
		"a container ID with a line":    {"DEL", "CNI_CONTAINERID=a\nb", "", env},
		"a container ID of UTF-8":       {"ADD", "CNI_CONTAINERID=ä", "", env},
		"no network namespace":          {"ADD", "CNI_NETNS=", "", env},
		"a netns that is a file":        {"ADD", "CNI_NETNS=" + file, "", netns},
		"a netns that is a device":      {"ADD", "CNI_NETNS=" + fifo, "", netns},
		"a netns that is a folder":      {"ADD", "CNI_NETNS=/", "", netns},
		"a netns that is none":          {"ADD", "CNI_NETNS=/proc/self/ns/mnt", "", netns},
		"a netns that is gone":          {"ADD", "CNI_NETNS=/var/run/netns/none", "", netns},
		"the host's own netns":          {"ADD", "CNI_NETNS=/proc/self/ns/net", "", netns},
		"CHECK of a file":               {"CHECK", "CNI_NETNS=" + file, "", netns},
		"no interface":                  {"ADD", "CNI_IFNAME=", "", env},
		"an interface of 16 characters": {"ADD", "CNI_IFNAME=" + strings.Repeat("x", 16), "", env},
		"an interface with ../":         {"ADD", "CNI_IFNAME=../x", "", env},
		"an interface with a space":     {"ADD", "CNI_IFNAME=a b", "", env},
		"no path":                       {"ADD", "CNI_PATH=", "", env},
		"an unknown command":            {"EXPLODE", "", "", env},
		"args without a value":          {"ADD", "CNI_ARGS=K8S_POD_NAME", "", env},
		"a pod without a namespace":     {"ADD", "CNI_ARGS=K8S_POD_NAME=web", "", env},
		"a pod with a slash":            {"ADD", "CNI_ARGS=K8S_POD_NAMESPACE=a/b;K8S_POD_NAME=web", "", env},
		"a pod with a line end":         {"ADD", "CNI_ARGS=K8S_POD_NAMESPACE=a;K8S_POD_NAME=web\nx", "", env},
		"a pod with a long name":        {"ADD", "CNI_ARGS=K8S_POD_NAMESPACE=a;K8S_POD_NAME=" + strings.Repeat("x", 254), "", env},
		"nothing on standard input":     {"ADD", "", " ", decode},
		"no JSON":                       {"ADD", "", "{", decode},
		"a JSON list":                   {"ADD", "", "[]", decode},
		"10 MiB":                        {"ADD", "", strings.Repeat(" ", 10<<20), decode},
		"10 MiB to STATUS":              {"STATUS", "", strings.Repeat(" ", 10<<20), decode},
		"10 MiB to DEL":                 {"DEL", "", strings.Repeat(" ", 10<<20), decode},
		"no name":                       {"ADD", "", `{"cniVersion": "1.0.0", "type": "warren-cni"}`, config},
		"a name with ../":               {"ADD", "", `{"cniVersion": "1.0.0", "name": "../x", "type": "warren-cni"}`, config},
		"a version of the future":       {"ADD", "", `{"cniVersion": "9.9.9", "name": "warren", "type": "warren-cni"}`, version},
		"a version before ours":         {"ADD", "", `{"cniVersion": "0.2.0", "name": "warren", "type": "warren-cni"}`, version},
		"a version that is none":        {"ADD", "", `{"cniVersion": "one", "name": "warren", "type": "warren-cni"}`, version},
		"a version that is a number":    {"ADD", "", `{"cniVersion": 1, "name": "warren", "type": "warren-cni"}`, decode},
		"GC before 1.1.0":               {"GC", "", `{"cniVersion": "1.0.0", "name": "warren", "type": "warren-cni"}`, version},
		"CHECK before 0.4.0":            {"CHECK", "", `{"cniVersion": "0.3.1", "name": "warren", "type": "warren-cni"}`, version},
		"a socket that is a number":     {"ADD", "", `{"cniVersion": "1.0.0", "name": "warren", "socket": 1}`, decode},
		"a relative socket":             {"ADD", "", `{"cniVersion": "1.0.0", "name": "warren", "socket": "x.sock"}`, config},
		"a previous result of no kind":  {"ADD", "", `{"cniVersion": "1.0.0", "name": "warren", "socket": "SOCKET", "prevResult": {"ips": 1}}`, decode},
		"a hardware address of no kind": {"ADD", "", asks(`"mac": "x"`), config},
		"a multicast hardware address":  {"ADD", "", asks(`"mac": "01:00:5e:00:00:01"`), config},
		"a hardware address of 8 bytes": {"ADD", "", asks(`"mac": "02:00:00:00:00:00:00:01"`), config},
		"a hardware address of zeros":   {"ADD", "", asks(`"mac": "00:00:00:00:00:00"`), config},
		"an address of no kind":         {"ADD", "", asks(`"ips": ["10.244.3"]`), config},
		"an address of one link":        {"ADD", "", asks(`"ips": ["fe80::1%eth0"]`), config},
		"two addresses of one family":   {"ADD", "", asks(`"ips": ["10.244.3.7", "10.244.3.8/24"]`), config},
		"an address of nobody's here":   {"ADD", "", asks(`"ips": ["10.244.9.7"]`), config},
		"the mesh address":              {"ADD", "", asks(`"ips": ["10.244.3.1/24"]`), config},
		"addresses that are a number":   {"ADD", "", asks(`"ips": 7`), decode},
		"CHECK without previous result": {"CHECK", "", "", types.ErrUnknownContainer},
	}
	for _, running := range []bool{false, true} {
		if n.kill(); running {
			n.start(t, -1, 0)
			n.ready(t)
		}
		var all sync.WaitGroup // at once: an ADD waits for an agent
		for name, tt := range calls {
			all.Go(func() {
				cmd := n.command(t.Context(), tt.command, s)
				if tt.set != "" {
					cmd.Env = append(cmd.Env, tt.set)
				}
				if tt.stdin != "" {
					cmd.Stdin = strings.NewReader(strings.ReplaceAll(tt.stdin, "SOCKET", n.socket()))
				}
				_, err := n.run(cmd)
				var e *types.Error
				later := !running && errors.As(err, &e) && e.Code == types.ErrTryAgainLater // what only the agent looks at
				if !errors.As(err, &e) || e.Code != tt.code && !later {
					t.Errorf("%s, agent %v: %v, want code %d", name, running, err, tt.code)
				}
			})
		}
		all.Wait()
	}
	if w := wires(t); len(w) != 0 {
		t.Errorf("wires: %s", w)
	}
	if n.kill(); len(n.leases(t)) != 0 {
		t.Errorf("leases: %v", n.leases(t))
	}
}

// asks is a configuration by which the runtime asks for something.
func asks(text string) string {
	return `{"cniVersion": "1.0.0", "name": "warren", "type": "warren-cni", "socket": "SOCKET", "runtimeConfig": {` + text + `}}`
}

// FuzzStdin: whatever is on standard input and in CNI_ARGS, the agent says what is wrong with it, or does it.
func FuzzStdin(f *testing.F) {
	f.Add([]byte(`{"cniVersion": "1.0.0", "name": "warren", "type": "warren-cni"}`), "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web", "add")
	f.Add([]byte(`{"cniVersion": "1.1.0", "name": "warren", "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]}`), "", "gc")
	f.Add([]byte(`{"cniVersion": "0.4.0", "name": "warren", "prevResult": {"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.244.3.2/32"}]}}`), "", "check")
	f.Add([]byte(`{"cniVersion": "0.3.1", "name": "warren", "prevResult": {"ips": [null]}, "runtimeConfig": {"mac": 1}}`), "IgnoreUnknown=1;A=B", "del")
	f.Fuzz(func(t *testing.T, config []byte, args, command string) {
		c, err := parse(cni.Command(command), cni.Request{ContainerID: "abc", Interface: "eth0", NetNS: "/none", Args: args, Config: config})
		if err != nil {
			var e *types.Error
			if !errors.As(err, &e) {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		if namespace, name := wiredAs(c.Request); namespace == "" || name == "" || strings.ContainsAny(namespace+name, "/\n\x00") {
			if cni.Command(command) != cni.GC && cni.Command(command) != cni.Status {
				t.Fatalf("the wire of %q/%q", namespace, name)
			}
		}
		_ = c.names(nil)
	})
}
