package checkpoint

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/ipam"
)

const (
	// SupplyName is the name of the file with what pods can be given.
	SupplyName = "pools"
	// SupplyTempName is the name of one that is being written.
	SupplyTempName = ".pools.tmp"

	supplyMagic = "warren-pools"
)

// SupplyStore keeps what a node knew last of pools and of its blocks, so that its pods get addresses while the API server is away. Its
// methods may be called concurrently.
type SupplyStore struct {
	record
	node string
}

// NewSupply is a store of a node, in a folder. Nothing is read or written yet.
func NewSupply(dir, node string) *SupplyStore {
	return &SupplyStore{node: node, record: record{
		dir: filepath.Clean(dir), name: SupplyName, magic: supplyMagic, what: "record of pools", holds: "what is known of pools",
	}}
}

// Load reads the file. The error is fs.ErrNotExist where there is none, and says what is wrong with one that cannot be used.
func (s *SupplyStore) Load() (supply ipam.Supply, err error) {
	var saved savedSupply
	err = s.load(&saved, func() (err error) {
		if err := ofNode(saved.Node, s.node); err != nil {
			return err
		}
		supply, err = saved.supply()
		return err
	})
	if err != nil {
		return ipam.Supply{}, err
	}
	return supply, nil
}

// Save writes the file where it holds something else.
func (s *SupplyStore) Save(supply ipam.Supply) error { return s.save(s.saved(supply)) }

// What the file holds. Selectors are as `kubectl -l` has them; a pool without Namespaces selects none.
type (
	savedSupply struct {
		Node     string         `json:"node"`
		Pools    []savedPool    `json:"pools"`
		Blocks   []savedBlock   `json:"blocks"`
		Reserved []netip.Prefix `json:"reserved"`
	}
	savedPool struct {
		Name          string       `json:"name"`
		UID           string       `json:"uid"`
		Created       time.Time    `json:"created"`
		CIDR          netip.Prefix `json:"cidr"`
		BlockSize     int          `json:"blockSize"`
		Nodes         string       `json:"nodes"`
		Namespaces    *string      `json:"namespaces,omitempty"`
		NATOutgoing   bool         `json:"natOutgoing"`
		Disabled      bool         `json:"disabled"`
		Pods          bool         `json:"pods"`
		MeshAddresses bool         `json:"meshAddresses"`
	}
	savedBlock struct {
		CIDR        netip.Prefix `json:"cidr"`
		Pool        string       `json:"pool"`
		Node        string       `json:"node"`
		NodeUID     string       `json:"nodeUID"`
		MeshAddress bool         `json:"meshAddress"`
		Created     time.Time    `json:"created"`
	}
)

func (s *SupplyStore) saved(supply ipam.Supply) savedSupply {
	saved := savedSupply{Node: s.node, Reserved: supply.Reserved}
	for _, p := range supply.Pools {
		one := savedPool{
			Name: p.Name, UID: p.UID, Created: p.Created.UTC(), CIDR: p.CIDR, BlockSize: p.BlockSize, Nodes: p.Nodes.String(), NATOutgoing: p.NATOutgoing,
			Disabled: p.Disabled, Pods: p.Pods, MeshAddresses: p.MeshAddresses,
		}
		if p.Namespaces != nil {
			text := p.Namespaces.String()
			one.Namespaces = &text
		}
		saved.Pools = append(saved.Pools, one)
	}
	for _, b := range supply.Blocks {
		saved.Blocks = append(saved.Blocks, savedBlock{
			CIDR: b.CIDR, Pool: b.Pool, Node: b.Node, NodeUID: b.NodeUID, MeshAddress: b.MeshAddress, Created: b.Created.UTC(),
		})
	}
	return saved
}

func (saved savedSupply) supply() (ipam.Supply, error) {
	supply := ipam.Supply{Reserved: saved.Reserved}
	for _, one := range saved.Pools {
		pool, err := one.pool()
		if err != nil {
			return ipam.Supply{}, fmt.Errorf("parsing pool %.64q: %w", one.Name, err)
		}
		supply.Pools = append(supply.Pools, pool)
	}
	for _, b := range saved.Blocks {
		supply.Blocks = append(supply.Blocks, ipam.Block{
			CIDR: b.CIDR, Pool: b.Pool, Node: b.Node, NodeUID: b.NodeUID, MeshAddress: b.MeshAddress, Created: b.Created,
		})
	}
	return supply, nil
}

func (p savedPool) pool() (ipam.Pool, error) {
	if !p.CIDR.IsValid() || p.BlockSize < p.CIDR.Bits() || p.BlockSize > p.CIDR.Addr().BitLen() {
		return ipam.Pool{}, fmt.Errorf("%s has no blocks of /%d", p.CIDR, p.BlockSize)
	}
	nodes, err := labels.Parse(p.Nodes)
	if err != nil {
		return ipam.Pool{}, err
	}
	pool := ipam.Pool{
		Name: p.Name, UID: p.UID, Created: p.Created, CIDR: p.CIDR, BlockSize: p.BlockSize, Nodes: nodes, NATOutgoing: p.NATOutgoing,
		Disabled: p.Disabled, Pods: p.Pods, MeshAddresses: p.MeshAddresses,
	}
	if p.Namespaces != nil {
		if pool.Namespaces, err = labels.Parse(*p.Namespaces); err != nil {
			return ipam.Pool{}, err
		}
	}
	return pool, nil
}
