package policy

import (
	"iter"

	"k8s.io/apimachinery/pkg/labels"
	operator "k8s.io/apimachinery/pkg/selection"
)

// anchor is what labels must have at least for a selector to match: a key with one of some values, or with any where there are none.
// The zero anchor asks for nothing.
type anchor struct {
	key    string
	values []string
}

// anchorOf is the requirement of a selector that the fewest labels are likely to meet.
func anchorOf(s labels.Selector) (best anchor) {
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		switch r.Operator() {
		case operator.In, operator.Equals, operator.DoubleEquals:
			if values := r.ValuesUnsorted(); best.values == nil || len(values) < len(best.values) {
				best = anchor{r.Key(), values}
			}
		case operator.Exists, operator.GreaterThan, operator.LessThan:
			if best.key == "" {
				best.key = r.Key()
			}
		case operator.NotIn, operator.NotEquals, operator.DoesNotExist:
		}
	}
	return best
}

// anchored finds what selects by labels without a visit to what certainly does not.
type anchored[T comparable] struct {
	places map[place]map[T]struct{}
}

// place is where labels and anchors meet. The zero place is where all labels look.
type place struct {
	key, value string
	valued     bool
}

func (a anchor) places() []place {
	if len(a.values) == 0 {
		return []place{{key: a.key}}
	}
	all := make([]place, len(a.values))
	for i, v := range a.values {
		all[i] = place{a.key, v, true}
	}
	return all
}

func (x *anchored[T]) add(a anchor, t T) {
	if x.places == nil {
		x.places = make(map[place]map[T]struct{})
	}
	for _, p := range a.places() {
		if x.places[p] == nil {
			x.places[p] = make(map[T]struct{})
		}
		x.places[p][t] = struct{}{}
	}
}

func (x *anchored[T]) remove(a anchor, t T) {
	for _, p := range a.places() {
		delete(x.places[p], t)
		if len(x.places[p]) == 0 {
			delete(x.places, p)
		}
	}
}

// candidates are what could select the labels, each once: an anchor has one key, and labels one value of it.
func (x *anchored[T]) candidates(l labels.Set) iter.Seq[T] {
	return func(yield func(T) bool) {
		look := func(p place) bool {
			for t := range x.places[p] {
				if !yield(t) {
					return false
				}
			}
			return true
		}
		if len(x.places) == 0 || !look(place{}) {
			return
		}
		for key, value := range l {
			if !look(place{key, value, true}) || key != "" && !look(place{key: key}) {
				return
			}
		}
	}
}
