package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/warren-mesh/warren/internal/owned"
	"github.com/warren-mesh/warren/policy"
)

const (
	// PolicyName is the name of the file with the rules of the node's pods.
	PolicyName = "policy"
	// PolicyTempName is the name of one that is being written.
	PolicyTempName = ".policy.tmp"

	policyMagic = "warren-policy"
)

// PolicyStore keeps the rules of a node's pods, so that after a reboot those that were known have them while the API server is away. Its methods may
// be called concurrently.
type PolicyStore struct {
	dir, node string

	mu sync.Mutex // guards known, and that one write follows another
	// known is what the file holds; nil where that is not known.
	known []byte
}

// NewPolicy is a store of a node, in a folder. Nothing is read or written yet.
func NewPolicy(dir, node string) *PolicyStore {
	return &PolicyStore{dir: filepath.Clean(dir), node: node}
}

// Path is where the file is.
func (s *PolicyStore) Path() string { return filepath.Join(s.dir, PolicyName) }

// Load reads the file. The error is fs.ErrNotExist where there is none, and says what is wrong with one that cannot be used.
func (s *PolicyStore) Load() (policy.Ruleset, error) {
	content, _, err := owned.Read("record of policy", s.Path(), fileMode, MaxSize)
	if err != nil {
		return policy.Ruleset{}, err
	}
	rules, err := s.decode(content)
	if err != nil {
		return policy.Ruleset{}, fmt.Errorf("reading %s: %w", s.Path(), err)
	}
	return rules, nil
}

// Save writes the file where it holds something else.
func (s *PolicyStore) Save(rules policy.Ruleset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, err := s.encode(rules)
	if err == nil && len(content) > MaxSize {
		err = fmt.Errorf("they have %d bytes, more than the %d that are read", len(content), MaxSize)
	}
	if err != nil {
		return fmt.Errorf("writing the rules of the pods: %w", err)
	}
	if bytes.Equal(content, s.known) {
		return nil
	}
	s.known = nil
	if _, err := write(s.dir, PolicyName, content); err != nil {
		return fmt.Errorf("writing the rules of the pods: %w", err)
	}
	s.known = content
	return nil
}

// What the file holds: everything in the order of its names.
type (
	savedPolicy struct {
		Node   string           `json:"node"`
		Sets   []savedSet       `json:"sets"`
		Chains []policy.Chain   `json:"chains"`
		Pods   []policy.Binding `json:"pods"`
	}
	savedSet struct {
		Name    string          `json:"name"`
		Kind    policy.SetKind  `json:"kind"`
		Members []policy.Member `json:"members,omitempty"`
		Ranges  []policy.Range  `json:"ranges,omitempty"`
	}
)

func (s *PolicyStore) encode(rules policy.Ruleset) ([]byte, error) {
	saved := savedPolicy{Node: s.node}
	for _, name := range slices.Sorted(maps.Keys(rules.Sets)) {
		set := rules.Sets[name]
		members := slices.SortedFunc(maps.Keys(set.Members), func(a, b policy.Member) int {
			return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
		})
		saved.Sets = append(saved.Sets, savedSet{Name: name, Kind: set.Kind, Members: members, Ranges: set.Ranges})
	}
	for _, name := range slices.Sorted(maps.Keys(rules.Chains)) {
		saved.Chains = append(saved.Chains, rules.Chains[name])
	}
	for _, name := range slices.Sorted(maps.Keys(rules.Pods)) {
		saved.Pods = append(saved.Pods, rules.Pods[name])
	}
	body, err := json.Marshal(saved)
	return sealAs(policyMagic, append(body, '\n')), err
}

func (s *PolicyStore) decode(content []byte) (policy.Ruleset, error) {
	body, err := unseal(policyMagic, content)
	if err != nil {
		return policy.Ruleset{}, err
	}
	var saved savedPolicy
	if err := parse(body, &saved); err != nil {
		return policy.Ruleset{}, fmt.Errorf("parsing it: %w", err)
	}
	if saved.Node != s.node {
		return policy.Ruleset{}, fmt.Errorf("it is of node %.64q, and this is %s", saved.Node, s.node)
	}
	rules := policy.Ruleset{Sets: map[string]policy.Set{}, Chains: map[string]policy.Chain{}, Pods: map[string]policy.Binding{}}
	for _, one := range saved.Sets {
		set := policy.Set{Name: one.Name, Kind: one.Kind, Ranges: one.Ranges}
		if one.Members != nil || one.Ranges == nil {
			set.Members = map[policy.Member]struct{}{}
		}
		for _, m := range one.Members {
			set.Members[m] = struct{}{}
		}
		rules.Sets[one.Name] = set
	}
	for _, c := range saved.Chains {
		rules.Chains[c.Name] = c
	}
	for _, b := range saved.Pods {
		rules.Pods[b.Interface] = b
	}
	return rules, whole(rules)
}

// whole is an error where something names what is not there.
func whole(rules policy.Ruleset) error {
	for _, c := range rules.Chains {
		for _, r := range c.Rules {
			for _, set := range []string{r.Peer, r.Target} {
				if _, ok := rules.Sets[set]; set != "" && !ok {
					return fmt.Errorf("chain %.64q: there is no set %.64q", c.Name, set)
				}
			}
			if _, ok := rules.Chains[r.Goto]; r.Goto != "" && !ok {
				return fmt.Errorf("chain %.64q: there is no chain %.64q", c.Name, r.Goto)
			}
		}
	}
	for _, b := range rules.Pods {
		if b.Interface == "" || b.Name == "" {
			return errors.New("a pod has no interface or no name")
		}
		for _, chain := range []string{b.Ingress, b.Egress, b.Host} {
			if _, ok := rules.Chains[chain]; chain != "" && !ok {
				return fmt.Errorf("pod %s: there is no chain %.64q", b.PodKey, chain)
			}
		}
	}
	return nil
}
