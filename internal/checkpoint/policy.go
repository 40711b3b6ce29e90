package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

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
	record
	node string
}

// NewPolicy is a store of a node, in a folder. Nothing is read or written yet.
func NewPolicy(dir, node string) *PolicyStore {
	return &PolicyStore{node: node, record: record{
		dir: filepath.Clean(dir), name: PolicyName, magic: policyMagic, what: "record of policy", holds: "the rules of the pods",
	}}
}

// Load reads the file. The error is fs.ErrNotExist where there is none, and says what is wrong with one that cannot be used.
func (s *PolicyStore) Load() (rules policy.Ruleset, err error) {
	var saved savedPolicy
	err = s.load(&saved, func() error {
		if err := ofNode(saved.Node, s.node); err != nil {
			return err
		}
		rules = saved.rules()
		return whole(rules)
	})
	if err != nil {
		return policy.Ruleset{}, err
	}
	return rules, nil
}

// Save writes the file where it holds something else.
func (s *PolicyStore) Save(rules policy.Ruleset) error { return s.save(s.saved(rules)) }

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

func (s *PolicyStore) saved(rules policy.Ruleset) savedPolicy {
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
	return saved
}

func (saved savedPolicy) rules() policy.Ruleset {
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
	return rules
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
