package ipam

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// CoolDown is how long an address that was released is nobody's: so long it may live on in others' connection tables and caches.
const CoolDown = 30 * time.Second

// ErrHeld says that an address is another container's.
var ErrHeld = errors.New("the address is leased already")

// Table is who has which address, and who had it last. It is not for concurrent use.
type Table struct {
	leases  map[Key]Lease
	holders map[netip.Addr]Key
	// freed has each released address once, the least recently released first, and freedAt the same by address.
	freed   []Freed
	freedAt map[netip.Addr]time.Time
	// fresh is for each prefix the index below which every address is leased, or was.
	fresh map[netip.Prefix]uint64
}

// New is a table without leases.
func New() *Table {
	return &Table{
		leases: map[Key]Lease{}, holders: map[netip.Addr]Key{},
		freedAt: map[netip.Addr]time.Time{}, fresh: map[netip.Prefix]uint64{},
	}
}

// Choose says which lease the request gets: the one that its key has already, or else one of the addresses that were never used
// or, after those, that were released longest ago. Nothing is changed by it, before Grant.
func (t *Table) Choose(r Request, source Source, now time.Time) (Lease, error) {
	if held, ok := t.leases[r.Key]; ok {
		return held, nil
	}
	lists, err := source.Prefixes(r)
	if err != nil {
		return Lease{}, fmt.Errorf("choosing an address: %w", err)
	}
	lease := Lease{Request: r, Since: now}
	for _, prefixes := range lists {
		a, err := t.asked(source, prefixes)
		if err != nil {
			return Lease{}, err
		}
		if !a.IsValid() {
			var ok bool
			if a, ok = t.choose(prefixes, now); !ok {
				return Lease{}, t.full(prefixes, now)
			}
		}
		lease.Addresses = append(lease.Addresses, a)
	}
	return lease, allUsed(source, lease.Addresses)
}

func (t *Table) choose(prefixes []netip.Prefix, now time.Time) (netip.Addr, bool) {
	for _, p := range prefixes {
		if a, ok := t.neverUsed(p); ok {
			return a, true
		}
	}
	for _, f := range t.freed {
		if !cooling(f.At, now) && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return within(p, f.Address) }) {
			return f.Address, true
		}
	}
	return netip.Addr{}, false
}

func (t *Table) neverUsed(p netip.Prefix) (netip.Addr, bool) {
	for size := usable(p); t.fresh[p] < size; t.fresh[p]++ {
		a := address(p, t.fresh[p])
		_, leased := t.holders[a]
		_, freed := t.freedAt[a]
		if !leased && !freed {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// cooling says that an address was released a moment ago. A time yet to come is of a clock that has been put back since, and says nothing.
func cooling(at, now time.Time) bool {
	elapsed := now.Sub(at)
	return elapsed < CoolDown && elapsed > -CoolDown
}

func (t *Table) full(prefixes []netip.Prefix, now time.Time) error {
	e := &FullError{}
	for _, p := range prefixes {
		e.Uses = append(e.Uses, t.use(p, now))
	}
	return e
}

func (t *Table) use(p netip.Prefix, now time.Time) Use {
	u := Use{Prefix: p, Size: int(usable(p))} //nolint:gosec // at most maxUsable
	for a := range t.holders {
		if within(p, a) {
			u.Leased++
		}
	}
	for _, f := range t.freed {
		if !cooling(f.At, now) || !within(p, f.Address) {
			continue
		}
		if u.Cooling++; u.Cooling == 1 {
			u.Next = CoolDown - now.Sub(f.At)
		}
	}
	return u
}

// Uses are how the source's prefixes are used.
func (t *Table) Uses(source Source, now time.Time) ([]Use, error) {
	lists, err := source.Prefixes(Request{})
	if err != nil {
		return nil, err
	}
	var uses []Use
	for _, p := range slices.Concat(lists...) {
		uses = append(uses, t.use(p, now))
	}
	return uses, nil
}

// Grant makes a lease hold, in the place of the one that its key had. It fails, and changes nothing, where one of its addresses is another's.
func (t *Table) Grant(l Lease) error {
	for _, a := range l.Addresses {
		if holder, ok := t.holders[a]; ok && holder != l.Key {
			return fmt.Errorf("granting %s to %s of container %s: %w, to %s of container %s",
				a, l.Interface, l.ContainerID, ErrHeld, holder.Interface, holder.ContainerID)
		}
	}
	for _, a := range t.leases[l.Key].Addresses {
		delete(t.holders, a)
		if !slices.Contains(l.Addresses, a) {
			t.free(Freed{Address: a, At: l.Since})
		}
	}
	t.leases[l.Key] = l
	for _, a := range l.Addresses {
		t.holders[a] = l.Key
		t.unfree(a)
	}
	return nil
}

// Release ends a lease, and says whether there was one.
func (t *Table) Release(k Key, now time.Time) bool {
	l, ok := t.leases[k]
	if !ok {
		return false
	}
	delete(t.leases, k)
	for _, a := range l.Addresses {
		delete(t.holders, a)
		t.free(Freed{Address: a, At: now})
	}
	return true
}

// Free remembers a released address as the one that was released last.
func (t *Table) Free(f Freed) error {
	if _, ok := t.holders[f.Address]; ok {
		return fmt.Errorf("freeing %s: %w", f.Address, ErrHeld)
	}
	t.free(f)
	return nil
}

func (t *Table) free(f Freed) {
	t.unfree(f.Address)
	t.freed = append(t.freed, f)
	t.freedAt[f.Address] = f.At
}

func (t *Table) unfree(a netip.Addr) {
	if _, ok := t.freedAt[a]; !ok {
		return
	}
	delete(t.freedAt, a)
	t.freed = slices.DeleteFunc(t.freed, func(f Freed) bool { return f.Address == a })
}

// Lease is the one that a key has.
func (t *Table) Lease(k Key) (Lease, bool) {
	l, ok := t.leases[k]
	return l, ok
}

// Leases are all, in no order.
func (t *Table) Leases() []Lease { return slices.Collect(maps.Values(t.leases)) }

// Freed are the released addresses, the least recently released first.
func (t *Table) Freed() []Freed { return slices.Clone(t.freed) }
