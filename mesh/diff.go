package mesh

// Changes turn what is there into what should be. Set comes first, Remove after it, so that nothing that works in both is
// ever missing between the two.
type Changes[T any] struct {
	// Set are new or different.
	Set []T
	// Remove are no longer wanted.
	Remove []T
}

// Empty says whether there is nothing to do.
func (c Changes[T]) Empty() bool { return len(c.Set) == 0 && len(c.Remove) == 0 }

// Diff compares two lists whose members are told apart by key and compared by equal. The order of want is kept in Set, and
// that of have in Remove.
func Diff[K comparable, T any](have, want []T, key func(T) K, equal func(have, want T) bool) Changes[T] {
	var changes Changes[T]
	held := make(map[K]T, len(have))
	for _, h := range have {
		held[key(h)] = h
	}
	wanted := make(map[K]struct{}, len(want))
	for _, w := range want {
		wanted[key(w)] = struct{}{}
		if h, ok := held[key(w)]; !ok || !equal(h, w) {
			changes.Set = append(changes.Set, w)
		}
	}
	for _, h := range have {
		if _, ok := wanted[key(h)]; !ok {
			changes.Remove = append(changes.Remove, h)
		}
	}
	return changes
}

// Trim leaves out what two lists begin and end with alike. Where one thing of thousands has changed and both are in the same order,
// what is left is that thing.
func Trim[T any](have, want []T, equal func(have, want T) bool) (restHave, restWant []T) {
	for len(have) > 0 && len(want) > 0 && equal(have[0], want[0]) {
		have, want = have[1:], want[1:]
	}
	for len(have) > 0 && len(want) > 0 && equal(have[len(have)-1], want[len(want)-1]) {
		have, want = have[:len(have)-1], want[:len(want)-1]
	}
	return have, want
}
