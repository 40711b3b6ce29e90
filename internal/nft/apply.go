package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// chunk is how many elements go into one message. The library writes the length of all of them as 16 bits and says nothing
// when that overflows.
const chunk = 500

// Apply makes the kernel hold the table as wanted: one transaction with the difference to have, which is what Read returned or
// was applied before, and nil for no table; new sets of ranges go before. It says whether anything was sent; nothing is when nothing differs.
//
// Chains whose rules differ are filled anew and elements come and go one by one, so a packet meets either the old rules or the
// new. Only a thing of ours that somebody made again as another kind (a chain on another hook, a set of another type) costs a
// new table; its counters go on from where they were.
func (c *Conn) Apply(have *Table, want Table) (changed bool, err error) {
	d, err := compare(have, &want, nil)
	if err != nil {
		return false, fmt.Errorf("comparing table %s %s: %w", want.Family, want.Name, err)
	}
	if d.empty() {
		return false, nil
	}
	return c.carryOut(d, &want)
}

// compare is diff, and what makes the table anew where it cannot be changed in place.
func compare(have, want *Table, read func(*Set) error) (difference, error) {
	d, err := diff(have, want, read)
	if err != nil || !d.rebuild {
		return d, err
	}
	if d, err = diff(nil, want, nil); err != nil {
		return d, err
	}
	for i, counter := range d.counters {
		if was := have.counter(counter.Name); was != nil {
			d.counters[i] = *was
		}
	}
	d.rebuild = true
	return d, nil
}

// carryOut sends a difference, and counts what came of it.
func (c *Conn) carryOut(d difference, want *Table) (changed bool, err error) {
	if err := c.carry(d, want.nft()); err != nil {
		return false, fmt.Errorf("changing table %s %s: %w", want.Family, want.Name, err)
	}
	if err := c.verify(want, d.elements); err != nil {
		return true, fmt.Errorf("changing table %s %s: %w", want.Family, want.Name, err)
	}
	return true, nil
}

// carry sends a difference: all of it is done, or nothing. It takes one transaction. Where rules come with a new set of ranges it takes two, the new sets
// before: a commit lets packets meet its rules an instant before it puts a set's tree of ranges in its place, so that they would find none.
func (c *Conn) carry(d difference, t *nftables.Table) error {
	send := func(d difference) error {
		return c.transaction(func(tx *nftables.Conn) error { return d.send(tx, t) })
	}
	if d.rebuild || len(d.refill) == 0 || !slices.ContainsFunc(d.sets, func(s Set) bool { return s.Kind.ranges() }) {
		return send(d)
	}
	before, after := d.apart()
	if err := send(before); err != nil {
		return err
	}
	err := send(after)
	if err == nil {
		return nil
	}
	return errors.Join(err, c.transaction(func(tx *nftables.Conn) error {
		if d.missing {
			tx.DelTable(t)
			return nil
		}
		for _, s := range before.sets {
			tx.DelSet(s.nft(t))
		}
		return nil
	}))
}

// apart parts the new sets, to which nothing refers yet, from the rest.
func (d difference) apart() (before, after difference) {
	after = d
	before.table, before.sets, after.sets, after.elements = d.table, d.sets, nil, nil
	for _, e := range d.elements {
		if !e.namesChains() && slices.ContainsFunc(d.sets, func(s Set) bool { return s.Name == e.set.Name }) {
			before.elements = append(before.elements, e)
		} else {
			after.elements = append(after.elements, e)
		}
	}
	return before, after
}

// namesChains says whether the elements do, which are to be there first.
func (e setDifference) namesChains() bool { return e.set.Kind == InterfaceVerdicts }

// send puts the difference into the batch: what is referred to comes before what refers to it, and goes after it.
func (d difference) send(tx *nftables.Conn, t *nftables.Table) error {
	if d.rebuild {
		tx.DelTable(t)
	}
	if d.table || d.rebuild {
		tx.AddTable(t) // An existing one is woken.
	}
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
	if err := sendElements(tx, t, d.elements, func(e setDifference) bool { return !e.namesChains() }); err != nil {
		return err
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
	if err := sendElements(tx, t, d.elements, setDifference.namesChains); err != nil {
		return err
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

func sendElements(tx *nftables.Conn, t *nftables.Table, all []setDifference, these func(setDifference) bool) error {
	for _, e := range all {
		if !these(e) {
			continue
		}
		if err := e.send(tx, t); err != nil {
			return fmt.Errorf("set %s: %w", e.set.Name, err)
		}
	}
	return nil
}

// send removes before it adds: a range that grew overlaps what it was, and a key has one verdict.
func (e setDifference) send(tx *nftables.Conn, t *nftables.Table) error {
	set := e.set.nft(t)
	if e.flush {
		tx.FlushSet(set)
	}
	// A range is two elements; both go into the same message.
	for part := range slices.Chunk(e.remove, chunk/2) {
		if e.flush {
			break
		}
		if err := tx.SetDeleteElements(set, dumped(part, e.set.Kind)); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(e.add, chunk/2) {
		if err := tx.SetAddElements(set, dumped(part, e.set.Kind)); err != nil {
			return err
		}
	}
	return nil
}

// verify counts what is in the sets that were changed.
func (c *Conn) verify(want *Table, changed []setDifference) error {
	for _, e := range changed {
		if e.set.Kind.fleeting() {
			continue
		}
		count, err := c.count(want, &e.set)
		if err != nil {
			return c.afresh(err)
		}
		if count != e.size {
			return fmt.Errorf("set %s holds %d elements of %d", e.set.Name, count, e.size)
		}
	}
	return nil
}

// count is how many elements a set has. Of ranges, which are two or, up to the end of the address space, one, it reads them all.
func (c *Conn) count(t *Table, s *Set) (count int, err error) {
	if s.Kind.ranges() {
		is := Set{Name: s.Name, Kind: s.Kind}
		err := c.readElements(t, &is)
		return len(is.Elements), err
	}
	if err := c.eachElement(t, s, func([]byte) error { count++; return nil }); err != nil {
		return 0, fmt.Errorf("the elements of set %s: %w", s.Name, err)
	}
	return count, nil
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
