package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/nft"
)

// elementTask measures one member more, and one less, of a set of so many members, so many times: by Table.Apply, by an nft command for each,
// and by one nft that is given all commands, which leaves its start out.
const elementTask = "element"

// The ways of a change, and what is measured of each.
const (
	byApply   = "Apply"
	byCommand = "nft"
	byOneNFT  = "one nft"

	wallTime   = "time"
	usedTime   = "processor time"
	kernelTime = "processor time of the kernel"
)

// perCommand is how many changes Apply and the one nft make for each nft command: the kernel counts its time in ticks, of which a change is a
// hundredth.
const perCommand = 50

const largeSet = "large"

// element is what is added and deleted: it is in no range of the members'.
var element = netip.MustParseAddr("192.168.0.1")

func elementRound(ctx context.Context, members, changes int) (figures, error) {
	table, err := nft.New(nft.Options{})
	if err != nil {
		return nil, err
	}
	all := policy.Set{Name: largeSet, Kind: policy.Addresses4, Members: make(map[policy.Member]struct{}, members)}
	for i, a := 0, netip.MustParseAddr("10.0.0.0"); i < members; i, a = i+1, a.Next() {
		all.Members[policy.Member{Address: a}] = struct{}{}
	}
	if _, err := table.Set(policy.Ruleset{Sets: map[string]policy.Set{largeSet: all}}); err != nil {
		return nil, err
	}
	found := figures{}
	for _, way := range []struct {
		name    string
		changes int
		do      func() error
	}{
		{byApply, changes * perCommand, func() error { return applyChanges(table, changes*perCommand) }},
		{byCommand, changes, func() error { return runCommands(ctx, changes) }},
		{byOneNFT, changes * perCommand, func() error { return runOne(ctx, changes*perCommand) }},
	} {
		before, err := bothUsed()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := way.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		took := time.Since(began)
		after, err := bothUsed()
		if err != nil {
			return nil, err
		}
		found[way.name+wallTime] = microseconds(took) / float64(way.changes)
		found[way.name+kernelTime] = (after.kernel - before.kernel) * 1e6 / float64(way.changes)
		found[way.name+usedTime] = (after.all - before.all) * 1e6 / float64(way.changes)
	}
	return found, nil
}

// applyChanges adds and deletes by turns.
func applyChanges(table *nft.Table, changes int) error {
	member := map[string][]policy.Member{largeSet: {{Address: element}}}
	for i := range changes {
		delta := policy.Delta{MembersAdded: member}
		if i%2 == 1 {
			delta = policy.Delta{MembersRemoved: member}
		}
		if err := table.Apply(delta); err != nil {
			return err
		}
	}
	return nil
}

// words are the i-th command for nft.
func words(i int) []string {
	verb := []string{"add", "delete"}[i%2]
	return []string{verb, "element", "inet", nft.TableName, largeSet, "{ " + element.String() + " }"}
}

func runCommands(ctx context.Context, changes int) error {
	for i := range changes {
		if out, err := exec.CommandContext(ctx, "nft", words(i)...).CombinedOutput(); err != nil { //nolint:gosec // our own words
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

func runOne(ctx context.Context, changes int) error {
	var script strings.Builder
	for i := range changes {
		script.WriteString(strings.Join(words(i), " ") + "\n")
	}
	one := exec.CommandContext(ctx, "nft", "--interactive")
	one.Stdin = strings.NewReader(script.String())
	out, err := one.CombinedOutput()
	if err == nil && strings.Contains(string(out), "Error") {
		err = fmt.Errorf("nft says %s", out)
	}
	return err
}

// bothUsed is what this process has used, and those that it has waited for.
func bothUsed() (processorTime, error) {
	own, err := usage(unix.RUSAGE_SELF)
	if err != nil {
		return own, err
	}
	children, err := usage(unix.RUSAGE_CHILDREN)
	return processorTime{own.all + children.all, own.kernel + children.kernel}, err
}
