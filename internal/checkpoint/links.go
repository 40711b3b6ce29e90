package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/warren-mesh/warren/policy"
)

const (
	// LinksName is the name of the file with the links of another plugin's pods.
	LinksName = "links"
	// LinksTempName is the name of one that is being written.
	LinksTempName = ".links.tmp"

	linksMagic = "warren-links"
)

// PodLink is a link of the host that leads to a pod of another plugin's, and to nothing else. It is the pod's for as long as the link of that
// name and index is there.
type PodLink struct {
	policy.Local
	Index int
}

// LinkStore keeps the links of a node's pods that another plugin wired. Its methods may be called concurrently.
type LinkStore struct {
	record
	node string
}

// NewLinks is a store of a node, in a folder. Nothing is read or written yet.
func NewLinks(dir, node string) *LinkStore {
	return &LinkStore{node: node, record: record{
		dir: filepath.Clean(dir), name: LinksName, magic: linksMagic, what: "record of the pods' links", holds: "the pods' links",
	}}
}

// savedLinks are in the order of the links' names.
type savedLinks struct {
	Node  string      `json:"node"`
	Links []savedLink `json:"links"`
}

type savedLink struct {
	Link      string       `json:"link"`
	Index     int          `json:"index"`
	Namespace string       `json:"namespace"`
	Pod       string       `json:"pod"`
	Addresses []netip.Addr `json:"addresses"`
}

// Load reads the file. The error is fs.ErrNotExist where there is none, and says what is wrong with one that cannot be used.
func (s *LinkStore) Load() (links []PodLink, err error) {
	var saved savedLinks
	err = s.load(&saved, func() error {
		if err := ofNode(saved.Node, s.node); err != nil {
			return err
		}
		links = nil
		for _, l := range saved.Links {
			if l.Link == "" || l.Index <= 0 || l.Pod == "" || len(l.Addresses) == 0 {
				return errors.New("a link has no name, index, pod or address")
			}
			if slices.ContainsFunc(links, func(other PodLink) bool { return other.Interface == l.Link }) {
				return fmt.Errorf("link %.64q is there twice", l.Link)
			}
			links = append(links, PodLink{Index: l.Index, Local: policy.Local{
				Interface: l.Link, PodKey: policy.PodKey{Namespace: l.Namespace, Name: l.Pod}, Addresses: l.Addresses,
			}})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return links, nil
}

// Save writes the file where it holds something else.
func (s *LinkStore) Save(links []PodLink) error {
	saved := savedLinks{Node: s.node, Links: []savedLink{}}
	for _, l := range slices.SortedFunc(slices.Values(links), func(a, b PodLink) int { return cmp.Compare(a.Interface, b.Interface) }) {
		saved.Links = append(saved.Links, savedLink{
			Link: l.Interface, Index: l.Index, Namespace: l.Namespace, Pod: l.Name, Addresses: l.Addresses,
		})
	}
	return s.save(saved)
}
