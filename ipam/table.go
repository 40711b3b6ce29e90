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
	offers, err := source.Offers(r)
	if err != nil {
		return Lease{}, fmt.Errorf("choosing an address: %w", err)
	}
	lease := Lease{Request: r, Since: now}
	for _, o := range offers {
		a, err := t.choose(o, now)
		if err != nil {
			return Lease{}, err
		}
		lease.Addresses = append(lease.Addresses, a)
	}
	return lease, nil
}

func (t *Table) choose(o Offer, now time.Time) (netip.Addr, error) {
	if o.Fixed.IsValid() {
		return o.Fixed, t.checkFixed(o)
	}
	for _, part := range t.usedFirst(o.Blocks) {
		if a, ok := t.neverUsed(part.Prefix, o.Reserved); ok {
			return a, nil
		}
		for _, f := range t.freed {
			if !cooling(f.At, now) && within(part.Prefix, f.Address) && !covered(f.Address, o.Reserved) {
				return f.Address, nil
			}
		}
	}
	return netip.Addr{}, t.full(o, now)
}

// checkFixed is an error where the address that is asked for is another's, or in none of the blocks. Its cool-down is not waited for: who
// asks for it means to have it after whoever had it before.
func (t *Table) checkFixed(o Offer) error {
	if !slices.ContainsFunc(o.Blocks, func(p Part) bool { return within(p.Prefix, o.Fixed) }) {
		return &FullError{Offer: o}
	}
	if holder, ok := t.holders[o.Fixed]; ok {
		pod := t.leases[holder].Pod
		return fmt.Errorf("%w: it asks for %s: %w, to pod %s/%s (container %s)", ErrDenied, o.Fixed, ErrHeld, pod.Namespace, pod.Name, holder.ContainerID)
	}
	return nil
}

// usedFirst puts first the blocks that somebody has an address of, so that the others become empty.
func (t *Table) usedFirst(parts []Part) []Part {
	if len(parts) < 2 {
		return parts
	}
	used := make(map[netip.Prefix]bool, len(parts))
	for a := range t.holders {
		for _, p := range parts {
			used[p.Prefix] = used[p.Prefix] || p.Prefix.Contains(a)
		}
	}
	sorted := slices.Clone(parts)
	slices.SortStableFunc(sorted, func(a, b Part) int {
		switch {
		case used[a.Prefix] == used[b.Prefix]:
			return 0
		case used[a.Prefix]:
			return -1
		}
		return 1
	})
	return sorted
}

func (t *Table) neverUsed(p netip.Prefix, reserved []netip.Prefix) (netip.Addr, bool) {
	size, passed := usable(p), false
	for i := t.fresh[p]; i < size; i++ {
		a := address(p, i)
		_, leased := t.holders[a]
		_, freed := t.freedAt[a]
		switch {
		case leased || freed:
		case covered(a, reserved):
			passed = true // It may be somebody's once nothing reserves it.
		default:
			return a, true
		}
		if !passed {
			t.fresh[p] = i + 1
		}
	}
	return netip.Addr{}, false
}

// cooling says that an address was released a moment ago. A time yet to come is of a clock that has been put back since, and says nothing.
func cooling(at, now time.Time) bool {
	elapsed := now.Sub(at)
	return elapsed < CoolDown && elapsed > -CoolDown
}

func (t *Table) full(o Offer, now time.Time) error {
	return &FullError{Uses: t.uses(o, now), Offer: o}
}

func (t *Table) uses(o Offer, now time.Time) []Use {
	var uses []Use
	for _, part := range o.Blocks {
		u := t.use(part.Prefix, now)
		u.Pool, u.Reserved = part.Pool, t.reserved(part.Prefix, o.Reserved, now)
		uses = append(uses, u)
	}
	return uses
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

// reserved is how many addresses of a prefix are kept out that are neither leased nor cooling.
func (t *Table) reserved(p netip.Prefix, reserved []netip.Prefix, now time.Time) int {
	reserved = slices.DeleteFunc(slices.Clone(reserved), func(r netip.Prefix) bool { return !r.Overlaps(p) })
	if len(reserved) == 0 {
		return 0
	}
	count := 0
	for i := range usable(p) {
		a := address(p, i)
		_, leased := t.holders[a]
		if at, freed := t.freedAt[a]; !leased && (!freed || !cooling(at, now)) && covered(a, reserved) {
			count++
		}
	}
	return count
}

// Uses are how the source's prefixes are used.
func (t *Table) Uses(source Source, now time.Time) ([]Use, error) {
	offers, err := source.Offers(Request{})
	if err != nil {
		return nil, err
	}
	var uses []Use
	for _, o := range offers {
		uses = append(uses, t.uses(o, now)...)
	}
	return uses, nil
}

// Forget lets go of what is remembered of addresses that are nobody's and in none of the prefixes, once it can matter to nobody any more.
func (t *Table) Forget(prefixes []netip.Prefix, now time.Time) {
	for p := range t.fresh {
		if !slices.Contains(prefixes, p) {
			delete(t.fresh, p)
		}
	}
	t.freed = slices.DeleteFunc(t.freed, func(f Freed) bool {
		if cooling(f.At, now) || covered(f.Address, prefixes) {
			return false
		}
		delete(t.freedAt, f.Address)
		return true
	})
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

// Any says whether something holds for one of the leases.
func (t *Table) Any(holds func(Lease) bool) bool {
	for _, l := range t.leases {
		if holds(l) {
			return true
		}
	}
	return false
}

// Freed are the released addresses, the least recently released first.
func (t *Table) Freed() []Freed { return slices.Clone(t.freed) }
