package nft

import (
	"fmt"
	"slices"
)

// Change is what to do to a table of which all is known: what it names is there or comes with it. It costs as much as it is long.
type Change struct {
	Sets   []Set
	Chains []Chain
	// Remove and Add are elements of sets that are there or come with the change. What goes, goes first.
	Remove, Add []Set
	// Absent are elements that shall not be there, and may be.
	Absent []Set
	// StrayChains and StraySets go, by their names.
	StrayChains, StraySets []string
}

// Change changes a table by one transaction, before which go new sets of ranges. Nothing is read: where something is not as it was thought to be, all of
// it fails.
func (c *Conn) Change(f Family, table string, ch Change) error {
	t := Table{Family: f, Name: table}
	d := difference{sets: ch.Sets, chains: ch.Chains, refill: ch.Chains}
	for _, s := range ch.Remove {
		d.elements = append(d.elements, setDifference{set: s, remove: s.elements()})
	}
	for _, s := range slices.Concat(ch.Sets, ch.Add) {
		e := setDifference{set: s, add: s.elements()}
		e.size = len(e.add)
		d.elements = append(d.elements, e)
	}
	for _, s := range ch.Absent {
		e := setDifference{set: s, add: s.elements()}
		d.elements = append(d.elements, e, setDifference{set: s, remove: e.add}) // What is there may be added, and deleted only what is there.
	}
	for _, name := range ch.StrayChains {
		d.strayChains = append(d.strayChains, Chain{Name: name})
	}
	for _, name := range ch.StraySets {
		d.straySets = append(d.straySets, Set{Name: name})
	}
	if err := c.carry(d, t.nft()); err != nil {
		return fmt.Errorf("changing table %s %s: %w", f, table, err)
	}
	return c.verify(&t, d.elements[len(ch.Remove):][:len(ch.Sets)])
}
