package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/internal/owned"
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
	dir, node string

	mu sync.Mutex // guards known, and that one write follows another
	// known is what the file holds; nil where that is not known.
	known []byte
}

// NewSupply is a store of a node, in a folder. Nothing is read or written yet.
func NewSupply(dir, node string) *SupplyStore {
	return &SupplyStore{dir: filepath.Clean(dir), node: node}
}

// Path is where the file is.
func (s *SupplyStore) Path() string { return filepath.Join(s.dir, SupplyName) }

// Load reads the file. The error is fs.ErrNotExist where there is none, and says what is wrong with one that cannot be used.
func (s *SupplyStore) Load() (ipam.Supply, error) {
	content, _, err := owned.Read("record of pools", s.Path(), fileMode, MaxSize)
	if err != nil {
		return ipam.Supply{}, err
	}
	supply, err := s.decode(content)
	if err != nil {
		return ipam.Supply{}, fmt.Errorf("reading %s: %w", s.Path(), err)
	}
	return supply, nil
}

// Save writes the file where it holds something else.
func (s *SupplyStore) Save(supply ipam.Supply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, err := s.encode(supply)
	if err != nil {
		return fmt.Errorf("writing what is known of pools: %w", err)
	}
	if bytes.Equal(content, s.known) {
		return nil
	}
	s.known = nil
	if _, err := write(s.dir, SupplyName, content); err != nil {
		return fmt.Errorf("writing what is known of pools: %w", err)
	}
	s.known = content
	return nil
}

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

func (s *SupplyStore) encode(supply ipam.Supply) ([]byte, error) {
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
	body, err := json.Marshal(saved)
	return sealAs(supplyMagic, append(body, '\n')), err
}

func (s *SupplyStore) decode(content []byte) (ipam.Supply, error) {
	body, err := unseal(supplyMagic, content)
	if err != nil {
		return ipam.Supply{}, err
	}
	var saved savedSupply
	if err := parse(body, &saved); err != nil {
		return ipam.Supply{}, fmt.Errorf("parsing it: %w", err)
	}
	if saved.Node != s.node {
		return ipam.Supply{}, fmt.Errorf("it is of node %.64q, and this is %s", saved.Node, s.node)
	}
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
