package drops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/florianl/go-nflog/v2"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/policy"
)

// Source says what the prefixes of a log mean: policy/nft's Table.
type Source interface {
	// Denied is the rule that a prefix names; ok is false for one that has gone.
	Denied(prefix string) (d policy.Direction, id policy.RuleID, ok bool)
	// Settled says whether a prefix is that of a pod without rules, and of which side, or of a revoked flow.
	Settled(prefix string) (unbound, revoked bool, d policy.Direction)
	// Spoofed says whether it is that of a pod that sends under an address that is not its own.
	Spoofed(prefix string) bool
}

// snap is how much of a packet is read, in bytes: its headers.
const snap = 128

// gather is how long the kernel may wait for more to tell at once, in hundredths of a second.
const gather = 10

// Follow tells of packets that the log group was told of, in the network namespace of the thread that calls it, until ctx ends. One process at
// a time can follow a group. What tell takes its time for waits in the kernel, in bounded room: what does not fit is lost, and counted by the
// next record.
func Follow(ctx context.Context, group uint16, source Source, tell func(Record)) error {
	names, err := openLinks()
	if err != nil {
		return fmt.Errorf("following log group %d: %w", group, err)
	}
	defer names.close()
	log, err := open(group)
	if err != nil {
		return fmt.Errorf("following log group %d: %w", group, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 1)
	var lost gaps
	err = log.RegisterWithErrorFunc(ctx, func(a nflog.Attribute) int {
		lost.note(a.Seq)
		if r, ok := record(a, source, names.name); ok {
			r.Missed = lost.take()
			tell(r)
		}
		return 0
	}, func(err error) int {
		var timeout net.Error
		if errors.Is(err, unix.ENOBUFS) || errors.As(err, &timeout) && timeout.Timeout() { // Some were lost; or ctx has ended.
			return 0
		}
		failed <- err
		return 1
	})
	if err != nil {
		return errors.Join(fmt.Errorf("following log group %d: %w", group, err), log.Close())
	}
	select {
	case <-ctx.Done():
		return log.Close()
	case err = <-failed:
		stop() // What waits for ctx is waited for by Close.
		return errors.Join(fmt.Errorf("following log group %d: %w", group, err), log.Close())
	}
}

func open(group uint16) (*nflog.Nflog, error) {
	return nflog.Open(&nflog.Config{Group: group, Copymode: nflog.CopyPacket, Bufsize: snap, Flags: nflog.FlagSeq, Timeout: gather})
}

// Probe says why the kernel could tell a log group nothing: without that, it takes no rule that logs. That another process follows the group is no
// such reason.
func Probe(ctx context.Context, group uint16) error {
	log, err := open(group)
	if err != nil {
		return fmt.Errorf("looking for the kernel's log of packets: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	err = log.RegisterWithErrorFunc(ctx, func(nflog.Attribute) int { return 0 }, func(error) int { return 1 })
	stop()
	if closing := log.Close(); err == nil {
		err = closing
	}
	if err == nil || strings.Contains(err.Error(), unix.EPERM.Error()) { // Of another's group; it is not wrapped.
		return nil
	}
	return fmt.Errorf("looking for the kernel's log of packets: %w", err)
}

// gaps counts what the kernel numbered and could not deliver.
type gaps struct {
	begun bool
	next  uint32
	lost  uint32
}

func (g *gaps) note(seq *uint32) {
	if seq == nil {
		return
	}
	if g.begun {
		g.lost += *seq - g.next
	}
	g.begun, g.next = true, *seq+1
}

func (g *gaps) take() uint32 {
	n := g.lost
	g.lost = 0
	return n
}

// record makes one of what the kernel tells.
func record(a nflog.Attribute, source Source, link func(index *uint32) string) (Record, bool) {
	if a.Payload == nil || a.Prefix == nil {
		return Record{}, false
	}
	h, err := parse(*a.Payload)
	if err != nil {
		return Record{}, false
	}
	r := Record{Time: time.Now(), From: h.from, To: h.to, Protocol: h.protocol, In: link(a.InDev), Out: link(a.OutDev), Reason: ByPast}
	if a.Timestamp != nil {
		r.Time = *a.Timestamp
	}
	unbound, revoked, side := source.Settled(*a.Prefix)
	switch {
	case unbound:
		r.Reason, r.Direction = NotBound, side
	case revoked:
		r.Reason, r.Direction = ByRevocation, policy.Egress
	case source.Spoofed(*a.Prefix):
		r.Reason, r.Direction = BySource, policy.Egress
	default:
		if d, id, ok := source.Denied(*a.Prefix); ok {
			r.Reason, r.Direction, r.Rule = ByRule, d, id
		}
	}
	if r.Interface = r.Out; r.Direction == policy.Egress {
		r.Interface = r.In
	}
	return r, true
}
