package policytest

import (
	"slices"

	"pgregory.net/rapid"
)

// Way is one of telling what happened.
type Way struct {
	Name string
	Of   func(*rapid.T, []Event) []Event
}

// GoString is its name.
func (w Way) GoString() string { return w.Name }

// Ways are those that end the same.
var Ways = []Way{
	{"as it was", func(_ *rapid.T, events []Event) []Event { return events }}, {"reordered", reordered}, {"merged", merged}, {"repeated", repeated},
}

// reordered lets news of different things overtake each other; of one thing it stays in its order.
func reordered(t *rapid.T, events []Event) []Event {
	of := map[string][]Event{}
	for _, e := range events {
		of[e.Of] = append(of[e.Of], e)
	}
	told := make([]Event, 0, len(events))
	for _, e := range rapid.Permutation(events).Draw(t, "reordered") {
		told = append(told, of[e.Of][0])
		of[e.Of] = of[e.Of][1:]
	}
	return told
}

// merged leaves out some of the news that later news of the same thing replaces, or all of it.
func merged(t *rapid.T, events []Event) []Event {
	all := rapid.Bool().Draw(t, "all merged")
	later := map[string]bool{}
	var told []Event
	for _, e := range slices.Backward(events) {
		if !later[e.Of] || !all && rapid.Bool().Draw(t, "kept") {
			told = append(told, e)
		}
		later[e.Of] = true
	}
	slices.Reverse(told)
	return told
}

// repeated tells some of the news again: at once, after other news or, as after a resync, all of it from the beginning.
func repeated(t *rapid.T, events []Event) []Event {
	var told []Event
	for _, e := range events {
		for range rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "times") {
			told = append(told, e)
		}
	}
	switch rapid.IntRange(0, 2).Draw(t, "again") {
	case 1:
		return reordered(t, told)
	case 2:
		return append(told, events...)
	}
	return told
}
