package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

// cluster is nodes that do their work against an API server that lets a name be taken once.
type cluster struct {
	pool    Pool
	blocks  []Block
	gone    map[netip.Prefix]time.Time
	now     time.Time
	nodes   []*tenant
	created int
}

// tenant is a node of it.
type tenant struct {
	name, uid string
	leases    map[netip.Addr]bool
	mesh      []netip.Addr
	empty     map[netip.Prefix]time.Time
}

func (c *cluster) ledger(n *tenant) Ledger {
	return Ledger{
		Node: n.name, UID: n.uid, Cluster: []netip.Prefix{c.pool.CIDR}, Pools: []Pool{c.pool}, Blocks: slices.Clone(c.blocks), Gone: c.gone, Now: c.now, Idle: 10 * time.Minute,
	}
}

func (n *tenant) tenancy(l Ledger) Tenancy {
	t := Tenancy{Mesh: n.mesh, Uses: map[netip.Prefix]Use{}, Empty: n.empty}
	for a := range n.leases {
		t.Leased = append(t.Leased, a)
	}
	for _, b := range l.Own() {
		u := Use{Prefix: b.CIDR, Size: int(usable(b.CIDR))}
		for a := range n.leases {
			if b.CIDR.Contains(a) {
				u.Leased++
			}
		}
		t.Uses[b.CIDR] = u
		if _, known := n.empty[b.CIDR]; u.Leased > 0 {
			delete(n.empty, b.CIDR)
		} else if !known {
			n.empty[b.CIDR] = l.Now
		}
	}
	return t
}

func (c *cluster) drop(cidr netip.Prefix) {
	c.blocks = slices.DeleteFunc(c.blocks, func(b Block) bool { return b.CIDR == cidr })
	c.gone[cidr] = c.now
}

func (c *cluster) create(b Block) {
	if slices.ContainsFunc(c.blocks, func(o Block) bool { return o.CIDR == b.CIDR }) {
		return // it is somebody's
	}
	c.created++
	b.Created = start.Add(time.Duration(c.created) * time.Second)
	c.blocks = append(c.blocks, b)
	delete(c.gone, b.CIDR)
}

// work has a node do what is to be done, and says whether there was anything.
func (c *cluster) work(n *tenant) bool {
	l := c.ledger(n)
	w := l.Work(n.tenancy(l))
	for _, b := range w.Renew {
		for i := range c.blocks {
			if c.blocks[i].CIDR == b.CIDR {
				c.blocks[i].NodeUID = n.uid
			}
		}
	}
	for _, b := range w.Retake {
		c.drop(b.CIDR)
		c.create(b)
	}
	for _, b := range w.Claim {
		c.create(b)
	}
	for _, b := range slices.Concat(w.Return, w.LetGo) {
		c.drop(b.CIDR)
	}
	for _, b := range w.Return {
		delete(n.empty, b.CIDR)
	}
	if l := c.ledger(n); len(n.mesh) == 0 {
		for _, b := range l.MeshBlocks() {
			n.mesh = append(n.mesh, b.CIDR.Addr().Next())
		}
	}
	return len(w.Renew)+len(w.Retake)+len(w.Claim)+len(w.Return)+len(w.LetGo) > 0
}

// TestNodesShareAPool: whatever comes, no address is two nodes', what is in use stays its node's, and everybody comes to rest.
func TestNodesShareAPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pool{Name: "p", CIDR: netip.MustParsePrefix("10.64.0.0/25"), BlockSize: 28, Nodes: labels.Everything(), Pods: true, MeshAddresses: true}
		c := &cluster{pool: p, gone: map[netip.Prefix]time.Time{}, now: start}
		for i := range 3 {
			c.nodes = append(c.nodes, &tenant{
				name: fmt.Sprint("n", i), uid: fmt.Sprint("uid", i), leases: map[netip.Addr]bool{}, empty: map[netip.Prefix]time.Time{},
			})
		}
		node := func(t *rapid.T) *tenant { return c.nodes[rapid.IntRange(0, 2).Draw(t, "node")] }
		settle := func(t *rapid.T) {
			for _, n := range c.nodes {
				for turns := 0; c.work(n); turns++ {
					if turns == 20 {
						t.Fatalf("%s never comes to rest: %v", n.name, c.ledger(n).Work(n.tenancy(c.ledger(n))).describe())
					}
				}
			}
		}
		settle(t)
		t.Repeat(map[string]func(*rapid.T){
			"work": func(t *rapid.T) { c.work(node(t)) },
			"wait": func(t *rapid.T) {
				c.now = c.now.Add(time.Duration(rapid.IntRange(1, 12).Draw(t, "minutes")) * time.Minute)
				for cidr, at := range c.gone {
					if c.now.Sub(at) >= BlockRest {
						delete(c.gone, cidr)
					}
				}
			},
			"pod": func(t *rapid.T) {
				n := node(t)
				for _, b := range c.ledger(n).Own() {
					for i := range usable(b.CIDR) {
						if a := address(b.CIDR, i); b.NodeUID == n.uid && !n.leases[a] {
							n.leases[a] = true
							return
						}
					}
				}
				if b, err := c.ledger(n).For(Offer{Pools: []string{"p"}}); err == nil {
					c.create(b)
				}
			},
			"pods go": func(t *rapid.T) {
				n := node(t)
				for a := range n.leases {
					if rapid.Bool().Draw(t, "go") {
						delete(n.leases, a)
					}
				}
			},
			"the Node is made anew": func(t *rapid.T) {
				n := node(t)
				n.uid += "'"
				collected := rapid.Bool().Draw(t, "collected")
				for i := range c.blocks {
					if c.blocks[i].Node == n.name && collected {
						c.blocks[i].Freed = c.now
					}
				}
				c.work(n) // before anything else can take 10 minutes
			},
			"": func(t *rapid.T) {
				settle(t)
				for i, b := range c.blocks {
					for _, o := range c.blocks[i+1:] {
						if b.CIDR.Overlaps(o.CIDR) {
							t.Fatalf("%s and %s overlap", b.CIDR, o.CIDR)
						}
					}
				}
				for _, n := range c.nodes {
					var cidrs []netip.Prefix
					for _, b := range c.ledger(n).Own() {
						cidrs = append(cidrs, b.CIDR)
					}
					for a := range n.leases {
						if !covered(a, cidrs) {
							t.Fatalf("%s of %s is in none of its blocks %s", a, n.name, cidrs)
						}
					}
					if len(n.mesh) > 0 && !covered(n.mesh[0], cidrs) {
						t.Fatalf("the mesh address %s of %s is in none of its blocks %s", n.mesh[0], n.name, cidrs)
					}
				}
			},
		})
	})
}
