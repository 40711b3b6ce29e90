package kube

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/ipam"
)

// races is how many blocks two nodes race for.
var races = flag.Int("blocks.races", 200, "how many blocks two nodes race for")

func (s *server) addPool(t *testing.T, name, cidr string, size int32) {
	t.Helper()
	pool := &v1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.IPPoolSpec{CIDR: cidr, BlockSize: size}}
	if err := s.ours.Post().Resource(v1alpha1.ResourceIPPools).Body(pool).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) block(t *testing.T, cidr string) *v1alpha1.IPBlock {
	t.Helper()
	var block v1alpha1.IPBlock
	name := v1alpha1.IPBlockName(netip.MustParsePrefix(cidr))
	err := s.ours.Get().Resource(v1alpha1.ResourceIPBlocks).Name(name).Do(t.Context()).Into(&block)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return &block
}

// ofNode is a block to claim for the Node of that UID.
func ofNode(cidr, pool string, uid types.UID) ipam.Block {
	return ipam.Block{CIDR: netip.MustParsePrefix(cidr), Pool: pool, NodeUID: string(uid)}
}

// grantsOf are a node's grants in a snapshot, as text.
func grantsOf(s Snapshot, node string) (grants []string) {
	for _, p := range find(s, node).Grants {
		grants = append(grants, p.String())
	}
	return grants
}

func (s *server) testBlocks(t *testing.T) {
	s.addPool(t, "v4", "10.64.0.0/16", 26)
	n1, n2 := s.agent(t, "n1", Options{WatchPools: true}), s.agent(t, "n2", Options{})
	uid1, uid2 := s.node(t, "n1").UID, s.node(t, "n2").UID
	f := follow(t, n1)
	f.await(t, "the pool", func(s Snapshot) bool { return len(s.Pools) == 1 && s.Pools[0].Name == "v4" && s.Pools[0].MeshAddresses })
	granted := func(s Snapshot, node string, cidr string) bool { return slices.Contains(grantsOf(s, node), cidr) }

	mine := ofNode("10.64.0.0/26", "v4", uid1)
	mine.MeshAddress = true
	for range 2 { // the second time it is there already
		if err := n1.ClaimBlock(t.Context(), mine); err != nil {
			t.Fatal(err)
		}
	}
	f.await(t, "its own block", func(s Snapshot) bool { return granted(s, "n1", "10.64.0.0/26") && s.Blocks[0].MeshAddress })
	err := n2.ClaimBlock(t.Context(), ofNode("10.64.0.0/26", "v4", uid2))
	wantError(t, "n1's block for n2", err, ErrBlockTaken)
	wantError(t, "n1's block returned by n2", n2.ReturnBlock(t.Context(), mine.CIDR), ErrBlockTaken)
	if err := n2.LetGoBlock(t.Context(), mine.CIDR, time.Now()); err != nil {
		t.Errorf("letting go a block in use: %v, want that it does nothing", err)
	}
	if err := n2.ClaimBlock(t.Context(), ofNode("10.64.0.64/26", "v4", uid2)); err != nil {
		t.Fatal(err)
	}
	f.await(t, "n2's block", func(s Snapshot) bool { return granted(s, "n2", "10.64.0.64/26") && granted(s, "n1", "10.64.0.0/26") })

	for what, bad := range map[string]ipam.Block{
		"outside its pool": ofNode("10.65.0.0/26", "v4", uid1), "of another size": ofNode("10.64.1.0/27", "v4", uid1),
	} {
		if err := n1.ClaimBlock(t.Context(), bad); !apierrors.IsForbidden(err) {
			t.Errorf("a block %s: error %v, want Forbidden", what, err)
		}
	}

	// Somebody deletes it by mistake: it is still n1's, which claims it anew.
	s.deleteBlock(t, "10.64.0.0/26")
	f.await(t, "the block being deleted", func(s Snapshot) bool { return !s.Blocks[0].Freed.IsZero() && granted(s, "n1", "10.64.0.0/26") })
	wantError(t, "n1's block for n2, being deleted", n2.ClaimBlock(t.Context(), ofNode("10.64.0.0/26", "v4", uid2)), ErrBlockTaken)
	if err := n1.ClaimBlock(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	f.await(t, "the block anew", func(s Snapshot) bool { return s.Blocks[0].Freed.IsZero() && granted(s, "n1", "10.64.0.0/26") })

	// Counted, once what is there has stood for a while.
	f.await(t, "a pool to count", func(Snapshot) bool { return len(f.Miscounted(0)) == 1 })
	for pool, status := range f.Miscounted(0) {
		if diff := cmp.Diff(v1alpha1.IPPoolStatus{Blocks: 2, Capacity: 1024, Nodes: 2}, status); diff != "" {
			t.Errorf("pool %s (-want +got):\n%s", pool, diff)
		}
		if err := n1.UpdatePoolStatus(t.Context(), pool, status); err != nil {
			t.Error(err)
		}
	}
	for deadline := time.Now().Add(patience); len(f.Miscounted(0)) != 0; time.Sleep(10 * time.Millisecond) { // nobody is told of a status
		if time.Now().After(deadline) {
			t.Fatalf("%v is to be written, and is", f.Miscounted(0))
		}
	}

	// Returned, it is anybody's at once.
	for range 2 { // the second time it is not there any more
		if err := n1.ReturnBlock(t.Context(), mine.CIDR); err != nil {
			t.Fatal(err)
		}
	}
	if err := n2.ClaimBlock(t.Context(), ofNode("10.64.0.0/26", "v4", uid2)); err != nil {
		t.Fatal(err)
	}
	f.await(t, "n1's block with n2", func(s Snapshot) bool { return granted(s, "n2", "10.64.0.0/26") && !granted(s, "n1", "10.64.0.0/26") })
}

func (s *server) deleteBlock(t *testing.T, cidr string) {
	t.Helper()
	name := v1alpha1.IPBlockName(netip.MustParsePrefix(cidr))
	if err := s.ours.Delete().Resource(v1alpha1.ResourceIPBlocks).Name(name).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) testBlockOfLostNode(t *testing.T) {
	s.addPool(t, "lost", "10.66.0.0/16", 26)
	first := s.addNode(t, "lost")
	lost, other := s.agent(t, "lost", Options{}), s.agent(t, "n2", Options{})
	mesh, more := ofNode("10.66.1.0/26", "lost", first.UID), ofNode("10.66.0.0/26", "lost", first.UID)
	mesh.MeshAddress = true
	for _, b := range []ipam.Block{mesh, more} {
		if err := lost.ClaimBlock(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.admin.CoreV1().Nodes().Delete(t.Context(), "lost", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	freed := func(cidr string) (at time.Time) {
		t.Helper()
		for deadline := time.Now().Add(2 * patience); at.IsZero(); time.Sleep(50 * time.Millisecond) { // the garbage collector's own pace
			block := s.block(t, cidr)
			if block == nil || time.Now().After(deadline) {
				t.Fatalf("the block %s of a Node that was deleted is %+v, want it kept by its finalizer", cidr, block)
			}
			at = freedAt(&block.ObjectMeta)
		}
		return at
	}
	at := freed("10.66.0.0/26")
	freed("10.66.1.0/26")
	uid2 := s.node(t, "n2").UID
	wantError(t, "a block that rests", other.ClaimBlock(t.Context(), ofNode("10.66.1.0/26", "lost", uid2)), ErrBlockTaken)

	// The Node is back, and takes back what it had; what it did not, anybody lets go in the end.
	second := s.addNode(t, "lost")
	lost = s.agent(t, "lost", Options{WatchPools: true})
	mesh.NodeUID = string(second.UID)
	if err := lost.ClaimBlock(t.Context(), mesh); err != nil {
		t.Fatal(err)
	}
	f := follow(t, lost)
	f.await(t, "the block taken back", func(s Snapshot) bool { return len(grantsOf(s, "lost")) > 0 })
	nodes := f.Snapshot()
	if grants := grantsOf(nodes, "lost"); grants[len(grants)-1] != "10.66.1.0/26" {
		t.Errorf("taken back are %q", grants)
	}
	if doubts := find(nodes, "lost").Doubts; len(doubts) != 1 || doubts[0].CIDR != more.CIDR {
		t.Errorf("of the Node before are %v, want %s", doubts, more.CIDR)
	}
	if err := other.LetGoBlock(t.Context(), more.CIDR, at.Add(-time.Second)); err != nil || s.block(t, "10.66.0.0/26") == nil {
		t.Errorf("another deletion's block was let go (error %v)", err)
	}
	for range 2 {
		if err := other.LetGoBlock(t.Context(), more.CIDR, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.ClaimBlock(t.Context(), ofNode("10.66.0.0/26", "lost", uid2)); err != nil {
		t.Error(err)
	}
	// Its owner is another Node's UID, as after a restored store: claiming it is renewing it. (The Node exists, so the garbage collector
	// leaves the block.)
	block := s.block(t, "10.66.1.0/26")
	block.OwnerReferences[0].Name, block.OwnerReferences[0].UID = "n2", uid2
	if err := s.ours.Put().Resource(v1alpha1.ResourceIPBlocks).Name(block.Name).Body(block).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	if err := lost.ClaimBlock(t.Context(), mesh); err != nil {
		t.Fatal(err)
	}
	if got := s.block(t, "10.66.1.0/26"); got.OwnerReferences[0].UID != second.UID || got.UID != block.UID {
		t.Errorf("the renewed block is %+v", got)
	}
	if err := s.admin.CoreV1().Nodes().Delete(t.Context(), "lost", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testRace: each block has exactly one holder, whether nobody had it or its last holder's deletion ended a moment ago.
func (s *server) testRace(t *testing.T) {
	s.addPool(t, "race", "10.128.0.0/12", 28)
	var racers []*Client
	var uids []types.UID
	for _, name := range []string{"n1", "n2"} {
		client := s.agent(t, name, Options{})
		var err error
		if client.ours, err = newOurClient(s.agentConfig(t, name), -1, 0); err != nil {
			t.Fatal(err)
		}
		racers, uids = append(racers, client), append(uids, s.node(t, name).UID)
	}
	won := make([]int, len(racers))
	for i := range *races {
		addr := netip.AddrFrom4([4]byte{10, 128 + byte(i>>12), byte(i >> 4), byte(i << 4)})
		cidr := netip.PrefixFrom(addr, 28)
		race := func(do func(i int) error) int {
			t.Helper()
			errs := make([]error, len(racers))
			var started, done sync.WaitGroup
			started.Add(len(racers))
			for i := range racers {
				done.Go(func() {
					started.Done()
					started.Wait()
					errs[i] = do(i)
				})
			}
			done.Wait()
			return s.onlyHolder(t, cidr, errs)
		}
		claim := func(i int) error { return racers[i].ClaimBlock(t.Context(), ofNode(cidr.String(), "race", uids[i])) }
		won[race(claim)]++
		if i%10 == 0 { // deleted, and taken back by its node while the other lets it go and claims it
			s.deleteBlock(t, cidr.String())
			freed := freedAt(&s.block(t, cidr.String()).ObjectMeta)
			won[race(func(i int) error { return errors.Join(racers[i].LetGoBlock(t.Context(), cidr, freed), claim(i)) })]++
		}
	}
	t.Logf("of %d blocks, n1 and n2 claimed %v", *races, won)
}

// onlyHolder is which of two racers holds a block: one alone was told so, the other that it is taken, and the store says the same.
func (s *server) onlyHolder(t *testing.T, cidr netip.Prefix, errs []error) int {
	t.Helper()
	holder := slices.Index(errs, nil)
	if holder < 0 || !errors.Is(errs[1-holder], ErrBlockTaken) {
		t.Fatalf("%s: the racers were told %v, want one that it holds it and one that it is taken", cidr, errs)
	}
	if block, name := s.block(t, cidr.String()), fmt.Sprintf("n%d", holder+1); block == nil || block.Spec.NodeName != name {
		t.Fatalf("%s: %s was told that it holds it, and the API server has %+v", cidr, name, block)
	}
	return holder
}
