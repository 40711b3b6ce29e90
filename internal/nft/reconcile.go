package nft

import "fmt"

// Drift is how many things of a table were not as wanted. It is comparable.
type Drift struct {
	// Table says that the table was missing, asleep, or had to be made anew.
	Table bool
	// Sets and Chains were missing, or nobody wants them; chains also count where their rules were others.
	Sets, Chains int
	// Elements were missing from sets, or are not wanted.
	Elements int
}

// Holds says whether the kernel holds the table as wanted. Nothing is changed.
func (c *Conn) Holds(want Table) (bool, error) {
	d, err := c.differs(&want)
	return err == nil && d.empty(), err
}

// differs is the difference of what the kernel holds to what is wanted.
func (c *Conn) differs(want *Table) (d difference, err error) {
	err = c.consistently(func() error {
		have, err := c.read(want.Family, want.Name)
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		d, err = compare(have, want, func(s *Set) error { return c.readElements(want, s) })
		return err
	})
	if err != nil {
		return difference{}, fmt.Errorf("comparing table %s %s: %w", want.Family, want.Name, err)
	}
	return d, nil
}

// Reconcile makes the kernel hold the table as wanted, whatever it holds: by one transaction with the difference, or none. Elements are read and
// compared set by set, and only those that differ are kept meanwhile.
func (c *Conn) Reconcile(want Table) (Drift, error) {
	d, err := c.differs(&want)
	if err != nil || d.empty() {
		return Drift{}, err
	}
	changed, err := c.carryOut(d, &want)
	if err == nil || changed || d.table {
		return d.drift(), err
	}
	// Something is in the way that reading does not tell, such as the type of a map's keys: make the table anew.
	if d, err = diff(nil, &want, nil); err != nil {
		return Drift{}, fmt.Errorf("comparing table %s %s: %w", want.Family, want.Name, err)
	}
	d.rebuild = true
	_, err = c.carryOut(d, &want)
	return d.drift(), err
}

func (d difference) drift() Drift {
	out := Drift{
		Table:  d.table || d.rebuild,
		Sets:   len(d.sets) + len(d.straySets),
		Chains: len(d.refill) + len(d.strayChains),
	}
	for _, e := range d.elements {
		out.Elements += len(e.add) + len(e.remove)
	}
	return out
}

// Elements reads the elements of one set, which has to be there.
func (c *Conn) Elements(f Family, table string, s Set) ([]Element, error) {
	t := Table{Family: f, Name: table}
	if err := c.readElements(&t, &s); err != nil {
		return nil, fmt.Errorf("reading table %s %s: %w", f, table, c.afresh(err))
	}
	return s.Elements, nil
}
