package lab

import "github.com/vishvananda/netlink"

// CutBetween lets nothing pass between two nodes, in either direction: both still have their carrier, and reach everyone else. Only
// one pair can be cut at a time.
func (l *Lab) CutBetween(a, b *Node) error { return l.isolate(true, a, b) }

// HealBetween undoes CutBetween.
func (l *Lab) HealBetween(a, b *Node) error { return l.isolate(false, a, b) }

// isolate marks ports: the switch forwards nothing from a marked one to a marked one.
func (l *Lab) isolate(isolated bool, nodes ...*Node) error {
	for _, n := range nodes {
		set := func(port netlink.Link) error { return netlink.LinkSetIsolated(port, isolated) }
		if err := l.setPort(n, set, "isolating"); err != nil {
			return err
		}
	}
	return nil
}
