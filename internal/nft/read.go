package nft

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/nftables"
)

// Read reads a table with all that is in it; nil when there is none.
func (c *Conn) Read(f Family, name string) (*Table, error) {
	var t *Table
	err := c.consistently(func() (err error) {
		if t, err = c.read(f, name); t == nil || err != nil {
			return err
		}
		for i := range t.Sets {
			if err := c.readElements(t, &t.Sets[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading table %s %s: %w", f, name, err)
	}
	return t, nil
}

// read reads a table without the elements of its sets.
func (c *Conn) read(f Family, name string) (*Table, error) {
	found, err := c.nft.ListTableOfFamily(name, nftables.TableFamily(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &Table{Family: f, Name: name, asleep: found.Flags != 0}
	if t.Counters, err = c.counters(t.nft()); err != nil {
		return nil, fmt.Errorf("its counters: %w", err)
	}
	if err := c.readSets(t); err != nil {
		return nil, err
	}
	if err := c.readChains(t); err != nil {
		return nil, err
	}
	return t, nil
}

// Counters reads the named counters of a table; none when there is no table.
func (c *Conn) Counters(f Family, table string) ([]Counter, error) {
	out, err := c.counters((&Table{Family: f, Name: table}).nft())
	if err != nil {
		return nil, fmt.Errorf("reading the counters of table %s %s: %w", f, table, c.afresh(err))
	}
	return out, nil
}

func (c *Conn) counters(t *nftables.Table) ([]Counter, error) {
	objects, err := c.nft.GetObjects(t)
	if err != nil {
		return nil, err
	}
	var out []Counter
	for _, o := range objects {
		if counter, ok := o.(*nftables.CounterObj); ok {
			out = append(out, Counter{Name: counter.Name, Packets: counter.Packets, Bytes: counter.Bytes})
		}
	}
	return out, nil
}

func (c *Conn) readSets(t *Table) error {
	sets, err := c.nft.GetSets(t.nft())
	if err != nil {
		return fmt.Errorf("its sets: %w", err)
	}
	for _, s := range sets {
		if s.Anonymous {
			continue // It belongs to a rule and goes with it.
		}
		t.Sets = append(t.Sets, Set{Name: s.Name, Kind: kindOf(s)})
	}
	return nil
}

func (c *Conn) readChains(t *Table) error {
	chains, err := c.nft.ListChainsOfTableFamily(nftables.TableFamily(t.Family))
	if err != nil {
		return fmt.Errorf("its chains: %w", err)
	}
	for _, found := range chains {
		if found.Table.Name != t.Name {
			continue
		}
		chain := Chain{Name: found.Name, Hook: hookOf(found)}
		if chain.Rules, err = c.rules(t.nft(), found); err != nil {
			return err
		}
		t.Chains = append(t.Chains, chain)
	}
	return nil
}

func (c *Conn) rules(t *nftables.Table, chain *nftables.Chain) ([]Rule, error) {
	found, err := c.nft.GetRules(t, chain)
	if err != nil {
		return nil, fmt.Errorf("the rules of chain %s: %w", chain.Name, err)
	}
	out := make([]Rule, 0, len(found))
	for _, r := range found {
		out = append(out, ruleOf(r))
	}
	return out, nil
}

// Has says whether there is a table of that name.
func (c *Conn) Has(f Family, name string) (bool, error) {
	_, err := c.nft.ListTableOfFamily(name, nftables.TableFamily(f))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for table %s %s: %w", f, name, c.afresh(err))
	}
	return true, nil
}
