package pods

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// growing is a node that hands out of blocks of one address, and can be given more.
type growing struct {
	blocks []ipam.Part
	spare  []netip.Prefix
	away   error
	asked  int
}

func (g *growing) Offers(ipam.Request) ([]ipam.Offer, error) {
	return []ipam.Offer{{Blocks: g.blocks, Pools: []string{"main"}}}, nil
}

func (g *growing) grow(context.Context, ipam.Offer) error {
	g.asked++
	if g.away != nil {
		return g.away
	}
	if len(g.spare) == 0 {
		return errors.New("pool main has no block left")
	}
	g.blocks = append(g.blocks, ipam.Part{Prefix: g.spare[0], Pool: "main"})
	g.spare = g.spare[1:]
	return nil
}

func TestAPodGetsANodeMore(t *testing.T) {
	leases, err := journal.Open(t.TempDir(), func() ([]ipam.Lease, error) { return nil, nil }, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer leases.Close()
	g := &growing{spare: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/30")}}
	var full []string
	var denied error
	p := New(Options{
		Leases: leases, Grow: g.grow, OnFull: func(e *ipam.FullError) { full = append(full, e.Error()) },
		Source: func(context.Context, ipam.Pod) (ipam.Source, error) { return g, denied },
	})
	lease := func(name string) (ipam.Lease, error) {
		c := call{Request: ipam.Request{Key: ipam.Key{ContainerID: name, Interface: "eth0"}}}
		lease, _, err := p.lease(t.Context(), c, Network{})
		return lease, err
	}
	want := func(err error, code uint, message string) {
		t.Helper()
		var e *types.Error
		if !errors.As(err, &e) || e.Code != code || e.Error() != message {
			t.Errorf("error %v, want code %d, %s", err, code, message)
		}
	}
	if l, err := lease("a"); err != nil || l.Addresses[0].String() != "10.64.0.2" || g.asked != 1 {
		t.Fatalf("the first pod: %v, %v, asked %d times", l.Addresses, err, g.asked)
	}
	_, err = lease("b")
	const used = "no address is free in pool main, block 10.64.0.0/30: 1 of 1 leased; pool main has no block left"
	want(err, cni.ErrNoAddress, used)
	if len(full) != 1 || full[0] != used {
		t.Errorf("told of a full pool: %q", full)
	}
	g.away = fmt.Errorf("%w: the API server is away", ipam.ErrLater)
	_, err = lease("b")
	want(err, types.ErrTryAgainLater, "pods get no address yet; no address is free in pool main, block 10.64.0.0/30: 1 of 1 leased; try again later: the API server is away")
	if len(full) != 1 {
		t.Errorf("told of a pool that may not be full: %q", full)
	}
	denied = fmt.Errorf("%w: its annotation", ipam.ErrDenied)
	_, err = lease("c")
	want(err, cni.ErrDenied, "no address for this pod: its annotation")
	if l, err := lease("a"); err != nil || l.Addresses[0].String() != "10.64.0.2" {
		t.Errorf("who has a lease is asked nothing: %v, %v", l.Addresses, err)
	}
}
