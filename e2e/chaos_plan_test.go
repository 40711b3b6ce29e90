package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shot is one fault of one kind.
type shot struct {
	kind faultKind
	// node is whom it happens to, other who else has to do with it; empty where the kind names none.
	node, other string
	// ipv6 is the family that it is about, where it is about one.
	ipv6 bool
	// lasts is for how long, where it is not over at once.
	lasts time.Duration
}

func (s shot) String() string {
	text := s.kind.name
	if s.node != "" {
		text += " on " + s.node
	}
	if s.other != "" {
		text += ", " + s.other
	}
	if s.kind.families && s.ipv6 {
		text += ", IPv6"
	}
	if s.kind.lasts {
		text += ", " + s.lasts.String()
	}
	return text
}

// touches says whether the traffic between two nodes may notice it.
func (s shot) touches(a, b string) bool {
	if s.kind.between {
		return s.node == a && s.other == b || s.node == b && s.other == a
	}
	return s.node == a || s.node == b
}

// order is what happens at the same time.
type order struct {
	number int // from 1 on
	shots  []shot
}

func (o order) String() string {
	texts := make([]string, len(o.shots))
	for i, s := range o.shots {
		texts[i] = s.String()
	}
	return strings.Join(texts, " + ")
}

// kind is the order's for statistics.
func (o order) kind() string {
	if len(o.shots) > 1 {
		return "two at once"
	}
	return o.shots[0].kind.name
}

// draw is order number of a seed, whatever was drawn before: so a run can begin anywhere. The kinds come shuffled like a deck of
// cards, each once before the first comes again, and one order in five has a second fault, on another node.
func draw(seed uint64, number int, kinds []faultKind) order {
	deck, card := (number-1)/len(kinds), (number-1)%len(kinds)
	// Decks and orders each have streams of their own: the even and the odd ones.
	shuffled := rand.New(rand.NewPCG(seed, uint64(2*deck))).Perm(len(kinds))
	r := rand.New(rand.NewPCG(seed, uint64(2*number+1)))
	first := drawShot(r, kinds[shuffled[card]])
	o := order{number: number, shots: []shot{first}}
	if r.IntN(5) != 0 || first.kind.alone {
		return o
	}
	for {
		second := drawShot(r, kinds[r.IntN(len(kinds))])
		if !second.kind.alone && !first.excludes(second) && !second.excludes(first) {
			o.shots = append(o.shots, second)
			return o
		}
	}
}

// excludes says whether another one cannot be done at the same time.
func (s shot) excludes(other shot) bool {
	return s.kind.name == other.kind.name || s.node != "" && s.node == other.node || s.kind.stopsAPI && other.kind.needsAPI
}

func drawShot(r *rand.Rand, kind faultKind) shot {
	s := shot{kind: kind, ipv6: r.IntN(2) == 1, lasts: time.Duration(1+r.IntN(3)) * time.Second}
	if len(kind.nodes) > 0 {
		s.node = kind.nodes[r.IntN(len(kind.nodes))]
	}
	if kind.peers > 0 {
		others := slices.DeleteFunc(slices.Clone(anyNode), func(n string) bool { return n == s.node })
		s.other = others[r.IntN(len(others))]
	}
	return s
}

// TestDraw: the same seed is the same chaos, from wherever it begins; a deck has every kind; nothing is drawn that cannot be done.
func TestDraw(t *testing.T) {
	text := func(seed uint64) (lines []string) {
		for number := range 500 {
			lines = append(lines, fmt.Sprint(draw(seed, number+1, faultKinds)))
		}
		return lines
	}
	if diff := cmp.Diff(text(7), text(7)); diff != "" {
		t.Errorf("two times seed 7:\n%s", diff)
	}
	if cmp.Equal(text(7), text(8)) {
		t.Error("two seeds are the same")
	}
	seen, twice := map[string]bool{}, 0
	for number := range faultKinds {
		seen[draw(7, number+1, faultKinds).shots[0].kind.name] = true
	}
	if len(seen) != len(faultKinds) {
		t.Errorf("a deck has %d kinds, want all %d", len(seen), len(faultKinds))
	}
	for number := range 500 {
		o := draw(7, number+1, faultKinds)
		twice += len(o.shots) - 1
		if len(o.shots) > 1 && o.shots[0].node == o.shots[1].node {
			t.Errorf("two at once on one node: %s", o)
		}
	}
	if twice < 50 || twice > 150 {
		t.Errorf("%d of 500 are two at once, want about 100", twice)
	}
}
