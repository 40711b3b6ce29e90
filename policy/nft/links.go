package nft

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// SetLinks tells, with Options.Theirs, which links lead to pods: all of them, those without rules among them, which have no network. What has rules
// is one without being told. Before the first Set or Adopt this is remembered only.
func (t *Table) SetLinks(links []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := make(map[string]struct{}, len(links))
	for _, l := range links {
		if err := checkLink(l); err != nil {
			return fmt.Errorf("setting the pods' links: %w", err)
		}
		now[l] = struct{}{}
	}
	before := linksWith(t.links, t.pods)
	t.links = now
	if !t.known {
		return nil
	}
	return t.changeLinks(nft.InterfaceSet(theirLinks, before).Elements)
}

// changeLinks brings the kernel from the links that it has to those that are known. mu is held.
func (t *Table) changeLinks(has []nft.Element) error {
	want, change := nft.InterfaceSet(theirLinks, linksWith(t.links, t.pods)).Elements, nft.Change{}
	if add := nft.Without(want, has); len(add) > 0 {
		change.Add = []nft.Set{{Name: theirLinks, Kind: nft.Interfaces, Elements: add}}
	}
	if remove := nft.Without(has, want); len(remove) > 0 {
		change.Remove = []nft.Set{{Name: theirLinks, Kind: nft.Interfaces, Elements: remove}}
	}
	if len(change.Add)+len(change.Remove) == 0 {
		return nil
	}
	if err := t.send(change); err != nil {
		t.known = false
		return fmt.Errorf("setting the pods' links: %w", err)
	}
	return nil
}

// heldLinks are those that the kernel has: a link may have come since, which is no reason not to adopt the rest. mu is held.
func (t *Table) heldLinks() ([]nft.Element, error) {
	if is, err := t.conn.Has(nft.INet, TableName); err != nil || !is || !t.o.Theirs {
		return nil, err
	}
	return t.conn.Elements(nft.INet, TableName, nft.Set{Name: theirLinks, Kind: nft.Interfaces})
}

// table is the whole table for a ruleset, with the links that are known.
func (t *Table) table(r policy.Ruleset) (nft.Table, error) {
	table, err := t.o.table(r)
	if err != nil {
		return table, err
	}
	return withLinks(table, nft.InterfaceSet(theirLinks, linksWith(t.links, r.Pods)).Elements), nil
}

// withLinks is the table with others, where it has any.
func withLinks(table nft.Table, links []nft.Element) nft.Table {
	for i := range table.Sets {
		if table.Sets[i].Name == theirLinks {
			table.Sets[i].Elements = links
		}
	}
	return table
}

// linksWith are links, and those of pods with rules.
func linksWith(links map[string]struct{}, pods map[string]policy.Binding) []string {
	return slices.AppendSeq(slices.Collect(maps.Keys(links)), maps.Keys(pods))
}

// unlisted are elements for the pods' links that SetLinks was not given. mu is held.
func (t *Table) unlisted(pods []policy.Binding) []nft.Element {
	var links []string
	for _, b := range pods {
		if _, listed := t.links[b.Interface]; !listed {
			links = append(links, b.Interface)
		}
	}
	return nft.InterfaceSet(theirLinks, links).Elements
}

// checkLink refuses what is no link's name, and what nft could not list.
func checkLink(name string) error {
	if name == "" || len(name) > longestLink || name == "lo" || strings.ContainsAny(name, "/: \t\n*\"\\") {
		return fmt.Errorf("link %q: want a link's name of 1 to %d bytes", name, longestLink)
	}
	return nil
}
