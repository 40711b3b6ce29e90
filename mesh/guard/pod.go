package guard

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// mac is a hardware address.
type mac = [nft.MACSize]byte

// pods are the hardware addresses that pods were given, by the host's end of their veth. What is sent under another is dropped; a veth
// that is not among them may send under any.
type pods map[string]mac

func (p pods) sets() []nft.Set {
	return []nft.Set{nft.InterfaceSet(podLinks, slices.Collect(maps.Keys(p))), nft.InterfaceMACSet(podMACs, p)}
}

// SetPods says which hardware addresses pods were given before this guard was made. It is called before the first Set, which brings them
// to the kernel together with the rules.
func (g *Guard) SetPods(macs map[string]net.HardwareAddr) error {
	known := pods{}
	for link, addr := range macs {
		if err := checkPod(link, addr); err != nil {
			return fmt.Errorf("setting pods' hardware addresses: %w", err)
		}
		known[link] = mac(addr)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pods, g.held = known, nil
	return nil
}

// AddPod holds a pod to a hardware address, and to no other that it had before.
func (g *Guard) AddPod(link string, addr net.HardwareAddr) error {
	if err := checkPod(link, addr); err != nil {
		return fmt.Errorf("adding a pod to the guard: %w", err)
	}
	if err := g.changePod(link, pods{link: mac(addr)}); err != nil {
		return fmt.Errorf("adding %s to the guard: %w", link, err)
	}
	return nil
}

// RemovePod forgets a pod's hardware address. One that is not known is no error.
func (g *Guard) RemovePod(link string) error {
	if err := g.changePod(link, nil); err != nil {
		return fmt.Errorf("removing %s from the guard: %w", link, err)
	}
	return nil
}

// podChange is what is to be known of one link.
type podChange struct {
	link string
	now  pods
	done bool
	err  error
}

// changePod changes what is known of one link. Of callers at the same time one does it for all, by one transaction.
func (g *Guard) changePod(link string, now pods) error {
	mine := &podChange{link: link, now: now}
	g.queue.Lock()
	g.queued = append(g.queued, mine)
	g.queue.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if mine.done {
		return mine.err
	}
	g.queue.Lock()
	all := g.queued
	g.queued = nil
	g.queue.Unlock()
	err := g.changePods(all)
	for _, c := range all {
		c.done, c.err = true, err
	}
	return err
}

// changePods costs as much as what changes, however many pods there are. mu is held.
func (g *Guard) changePods(all []*podChange) error {
	if g.pods == nil {
		g.pods = pods{}
	}
	before, now := pods{}, pods{}
	for _, c := range all {
		if addr, ok := g.pods[c.link]; ok {
			before[c.link] = addr
		}
		delete(now, c.link) // Of two changes of one link the later holds.
		maps.Copy(now, c.now)
	}
	for _, c := range all {
		delete(g.pods, c.link)
	}
	maps.Copy(g.pods, now)
	for link, addr := range before {
		if same, ok := now[link]; ok && same == addr {
			delete(before, link)
			delete(now, link)
		}
	}
	if len(before)+len(now) == 0 {
		return nil
	}
	if g.held != nil {
		err := g.conn.Change(g.held.Family, g.held.Name, nft.Change{Remove: before.sets(), Add: now.sets()})
		if err == nil {
			g.onMessage(1)
			return nil
		}
		g.held = nil // Somebody changed it under us: look, and try once more.
	}
	return g.applyPods()
}

// applyPods brings all pods to the kernel, and leaves the rest of the table as it is: before the first Set that is of an agent before, who
// may know more. Where there is no table, or one that does not know of pods, the next Set brings them. mu is held.
func (g *Guard) applyPods() error {
	have, err := g.conn.Read(nft.INet, mesh.GuardTable)
	if err != nil || have == nil {
		return err
	}
	want, ok := have.WithSets(g.pods.sets()...)
	if !ok {
		return nil
	}
	changed, err := g.conn.Apply(have, want)
	if changed {
		g.onMessage(1)
	}
	return err
}

func checkPod(link string, addr net.HardwareAddr) error {
	if len(link) > longestLink || !strings.HasPrefix(link, mesh.PodLinkPrefix) {
		return fmt.Errorf("link %q: a pod's begins with %s and has at most %d bytes", link, mesh.PodLinkPrefix, longestLink)
	}
	if len(addr) != nft.MACSize {
		return fmt.Errorf("hardware address %q of link %s: want %d bytes", addr, link, nft.MACSize)
	}
	return nil
}
