package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// State is a lab as its folder tells other processes of it.
type State struct {
	Name string `json:"name"`
	// Owner started the lab and ends it; Init is the first process inside.
	Owner Process `json:"owner"`
	Init  Process `json:"init"`
	// Ready says that all is there that was asked for at the start.
	Ready bool `json:"ready"`
	// Bin is the folder with the lab's programs, Kubeconfig the admin's credential, Kubectl the program for it.
	Bin        string      `json:"bin"`
	Kubeconfig string      `json:"kubeconfig,omitempty"`
	Kubectl    string      `json:"kubectl,omitempty"`
	Hosts      []HostState `json:"hosts"`
}

// HostState is a place of a lab: the switch, a node, or a pod.
type HostState struct {
	// Name is "switch", "n1" or "n1/p1".
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// MeshAddresses and PodCIDRs are a node's.
	MeshAddresses []netip.Addr   `json:"meshAddresses,omitempty"`
	PodCIDRs      []netip.Prefix `json:"podCIDRs,omitempty"`
	// Namespaces are paths by kind, good while the owner lives.
	Namespaces map[string]string `json:"namespaces"`
	Env        []string          `json:"env,omitempty"`
}

const stateFile = "lab.json"

// ErrNoLab says that there is no lab of that name.
var ErrNoLab = errors.New("there is no such lab")

// LoadState reads what is known of a lab.
func LoadState(name string) (State, error) {
	if !namePattern.MatchString(name) {
		return State{}, fmt.Errorf("lab %q: %w", name, ErrNoLab)
	}
	return readState(filepath.Join(Base(), name))
}

func readState(dir string) (State, error) {
	var s State
	content, err := os.ReadFile(filepath.Join(dir, stateFile)) //nolint:gosec // of a lab
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("lab %s: %w", filepath.Base(dir), ErrNoLab)
	}
	if err != nil {
		return s, fmt.Errorf("reading the state of a lab: %w", err)
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return s, fmt.Errorf("reading the state of a lab: %w", err)
	}
	return s, nil
}

// Open makes a host of another process's lab usable; name is as in [HostState]. Close it after use.
func (s State) Open(name string) (*Host, error) {
	for _, h := range s.Hosts {
		if h.Name != name {
			continue
		}
		ns, err := openNamespaces(h.Namespaces)
		if err != nil {
			return nil, fmt.Errorf("opening %s of lab %s: %w", name, s.Name, err)
		}
		return &Host{Name: filepath.Base(name), Addresses: h.Addresses, ns: ns, bin: s.Bin, env: h.Env, children: &children{}}, nil
	}
	return nil, fmt.Errorf("lab %s has no %s", s.Name, name)
}

// Close lets a host go that was opened by [State.Open].
func (h *Host) Close() error { return h.ns.Close() }

// saveState writes the state file anew.
func (l *Lab) saveState() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	content, err := json.MarshalIndent(l.state(), "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the lab's state: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(l.dir, stateFile), content, 0o600); err != nil {
		return fmt.Errorf("writing the lab's state: %w", err)
	}
	return nil
}

func (l *Lab) state() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Name: l.options.Name, Owner: l.owner, Ready: l.ready, Bin: l.options.Bin}
	if l.init != nil {
		s.Init = l.initID
	}
	if l.root != nil {
		s.Hosts = append(s.Hosts, l.root.state(switchName))
	}
	if l.cluster != nil {
		s.Kubeconfig, s.Kubectl = l.cluster.AdminKubeconfig(), filepath.Join(l.options.Assets, "kubectl")
	}
	for _, n := range l.nodes {
		h := n.state(n.Name)
		h.MeshAddresses, h.PodCIDRs = n.MeshAddresses, n.PodCIDRs
		s.Hosts = append(s.Hosts, h)
		for _, p := range n.pods {
			s.Hosts = append(s.Hosts, p.state(n.Name+"/"+p.Name))
		}
	}
	return s
}

func (h *Host) state(name string) HostState {
	s := HostState{Name: name, Addresses: h.Addresses, Env: h.env, Namespaces: map[string]string{}}
	for _, kind := range kinds {
		s.Namespaces[kind] = fdPath(os.Getpid(), *h.ns.file(kind))
	}
	return s
}

// fdPath is how a process of the machine finds a file that another one has open.
func fdPath(pid int, f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", pid, f.Fd()) }
