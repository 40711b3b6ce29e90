package nft

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// chunk is how many elements go into one message. The library writes the length of all of them as 16 bits and says nothing
// when that overflows.
const chunk = 500

// Apply makes the kernel hold the table as wanted: one transaction with the difference to have, which is what Read returned or
// was applied before, and nil for no table. It says whether anything was sent; nothing is when nothing differs.
//
// Chains whose rules differ are filled anew and elements come and go one by one, so a packet meets either the old rules or the
// new. Only a thing of ours that somebody made again as another kind (a chain on another hook, a set of another type) costs a
// new table; its counters go on from where they were.
func (c *Conn) Apply(have *Table, want Table) (changed bool, err error) {
	d, err := diff(have, &want)
	if err != nil {
		return false, fmt.Errorf("comparing table %s %s: %w", want.Family, want.Name, err)
	}
	if d.empty() {
		return false, nil
	}
	if d.rebuild {
		if d, err = diff(nil, &want); err != nil {
			return false, fmt.Errorf("comparing table %s %s: %w", want.Family, want.Name, err)
		}
		for i, counter := range d.counters {
			if was := have.counter(counter.Name); was != nil {
				d.counters[i] = *was
			}
		}
		d.rebuild = true
	}
	if err := c.transaction(func(tx *nftables.Conn) error { return d.send(tx, want.nft()) }); err != nil {
		return false, fmt.Errorf("changing table %s %s: %w", want.Family, want.Name, err)
	}
	if err := c.verify(&want, d.elements); err != nil {
		return true, fmt.Errorf("changing table %s %s: %w", want.Family, want.Name, err)
	}
	return true, nil
}

// send puts the difference into the batch: what is referred to comes before what refers to it, and goes after it.
func (d difference) send(tx *nftables.Conn, t *nftables.Table) error {
	if d.rebuild {
		tx.DelTable(t)
	}
	tx.AddTable(t) // An existing one is woken.
	for _, c := range d.counters {
		tx.AddObj(&nftables.CounterObj{Table: t, Name: c.Name, Packets: c.Packets, Bytes: c.Bytes})
	}
	for i, s := range d.sets {
		set := s.nft(t)
		set.ID = uint32(i + 1) // Counts within the transaction. Left to the library, it is a global that sockets race for.
		if err := tx.AddSet(set, nil); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	for _, e := range d.elements {
		if err := e.send(tx, t); err != nil {
			return fmt.Errorf("set %s: %w", e.set.Name, err)
		}
	}
	for _, c := range d.chains {
		tx.AddChain(c.nft(t))
	}
	for _, c := range slices.Concat(d.refill, d.strayChains) {
		tx.FlushChain(&nftables.Chain{Table: t, Name: c.Name})
	}
	for _, c := range d.refill {
		for _, r := range c.Rules {
			tx.AddRule(r.nft(t, &nftables.Chain{Table: t, Name: c.Name}))
		}
	}
	for _, s := range d.straySets {
		tx.DelSet(s.nft(t))
	}
	for _, c := range d.strayChains {
		tx.DelChain(&nftables.Chain{Table: t, Name: c.Name})
	}
	for _, c := range d.strayCounters {
		tx.DeleteObject(&nftables.CounterObj{Table: t, Name: c.Name})
	}
	return nil
}

// send removes before it adds: a range that grew overlaps what it was.
func (e setDifference) send(tx *nftables.Conn, t *nftables.Table) error {
	set, add := e.set.nft(t), e.add
	if e.flush {
		tx.FlushSet(set)
		add = e.set.Elements
	}
	// A range is two elements; both go into the same message.
	for part := range slices.Chunk(e.remove, chunk/2) {
		if err := tx.SetDeleteElements(set, dumped(part, e.set.Kind)); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(add, chunk/2) {
		if err := tx.SetAddElements(set, dumped(part, e.set.Kind)); err != nil {
			return err
		}
	}
	return nil
}

// Exchange takes elements out of a table's sets and puts others into them, by one transaction. Nothing is read: the sets have to be there, with
// what goes, and what comes is little.
func (c *Conn) Exchange(t *Table, remove, add []Set) error {
	if err := c.transaction(func(tx *nftables.Conn) error {
		for _, s := range remove {
			if err := (setDifference{set: s, remove: s.Elements}).send(tx, t.nft()); err != nil {
				return fmt.Errorf("set %s: %w", s.Name, err)
			}
		}
		for _, s := range add {
			if err := (setDifference{set: s, add: s.Elements}).send(tx, t.nft()); err != nil {
				return fmt.Errorf("set %s: %w", s.Name, err)
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("changing table %s %s: %w", t.Family, t.Name, err)
	}
	return nil
}

// verify counts what is in the sets that were changed.
func (c *Conn) verify(want *Table, changed []setDifference) error {
	for _, e := range changed {
		is := Set{Name: e.set.Name, Kind: e.set.Kind}
		if err := c.readElements(want, &is); err != nil {
			return err
		}
		if len(is.Elements) != len(e.set.Elements) {
			return fmt.Errorf("set %s holds %d elements of %d", is.Name, len(is.Elements), len(e.set.Elements))
		}
	}
	return nil
}

// Delete deletes a table with all that is in it.
func (c *Conn) Delete(t *Table) error {
	if err := c.transaction(func(tx *nftables.Conn) error {
		tx.DelTable(t.nft())
		return nil
	}); err != nil {
		return fmt.Errorf("deleting table %s %s: %w", t.Family, t.Name, err)
	}
	return nil
}
