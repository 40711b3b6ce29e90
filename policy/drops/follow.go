package drops

import (
	"context"
	"errors"
	"fmt"
	"net"
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
}

// snap is how much of a packet is read, in bytes: its headers.
const snap = 128

// Follow tells of packets that the log group was told of, in the network namespace of the thread that calls it, until ctx ends. One process at
// a time can follow a group.
func Follow(ctx context.Context, group uint16, source Source, tell func(Record)) error {
	names, err := openLinks()
	if err != nil {
		return fmt.Errorf("following log group %d: %w", group, err)
	}
	defer names.close()
	log, err := nflog.Open(&nflog.Config{Group: group, Copymode: nflog.CopyPacket, Bufsize: snap})
	if err != nil {
		return fmt.Errorf("following log group %d: %w", group, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 1)
	err = log.RegisterWithErrorFunc(ctx, func(a nflog.Attribute) int {
		if r, ok := record(a, source, names.name); ok {
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
