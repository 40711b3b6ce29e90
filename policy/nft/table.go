package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// TableName is the name of the table, whose family is inet.
const TableName = "warren-policy"

// ErrUnknown says that it is not known what the kernel holds: Set has to come first.
var ErrUnknown = errors.New("what the kernel holds has to be read first")

// Options are what a Table may be given.
type Options struct {
	// LogGroup is the nflog group that is told of what was dropped. Zero tells nobody.
	LogGroup uint16
	// OnTransaction is told of each transaction, failed ones among them. May be nil.
	OnTransaction func(Transaction)
	// Theirs says that the pods' links are another plugin's: they have any names, of which SetLinks tells, and no guard.
	Theirs bool
}

// Transaction is what was asked of the kernel at once.
type Transaction struct {
	// Whole says that it was made by comparing with what the kernel held.
	Whole bool
	// Elements and Chains are how many came or went.
	Elements, Chains int
	Duration         time.Duration
	Err              error
}

// Drift is how many things the kernel did not hold as wanted.
type Drift = nft.Drift

// Table holds a ruleset in the kernel, in the network namespace in which it was made. It is safe for concurrent use.
type Table struct {
	o Options
	// mu guards all below: the socket is one conversation.
	mu   sync.Mutex
	conn *nft.Conn
	// known says that the kernel holds what was last set and applied.
	known bool
	// pods are those that the kernel knows, by interface, and kinds what its sets are, by name.
	pods map[string]policy.Binding
	// links are those that SetLinks was given.
	links map[string]struct{}
	kinds map[string]policy.SetKind
	// denials are what the log's prefixes mean, by chain.
	denials map[string]denials
	// revoked are the flows in the kernel's sets of them, and until when.
	revoked map[policy.Flow]time.Time
}

// New makes a table, which holds nothing before the first Set. It needs CAP_NET_ADMIN.
func New(o Options) (*Table, error) {
	conn, err := nft.Open()
	if err != nil {
		return nil, fmt.Errorf("making the policy table: %w", err)
	}
	if o.OnTransaction == nil {
		o.OnTransaction = func(Transaction) {}
	}
	return &Table{o: o, conn: conn}, nil
}

// Close lets go of the kernel. The table stays.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn.Close()
}

// Set makes the kernel hold the whole ruleset, whatever it holds: by one transaction with the difference, or none. It says how much that was.
// Where that was anything, all flows have to be judged anew.
func (t *Table) Set(want policy.Ruleset) (Drift, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = false
	table, err := t.table(want)
	if err != nil {
		return Drift{}, fmt.Errorf("setting the policy: %w", err)
	}
	start := time.Now()
	drift, err := t.conn.Reconcile(table)
	if err != nil || drift != (Drift{}) {
		t.o.OnTransaction(Transaction{Whole: true, Elements: drift.Elements, Chains: drift.Chains, Duration: time.Since(start), Err: err})
	}
	if err != nil {
		return drift, fmt.Errorf("setting the policy: %w", err)
	}
	if err = t.readRevoked(drift != (Drift{})); err != nil {
		return drift, fmt.Errorf("setting the policy: %w", err)
	}
	t.know(want)
	return drift, nil
}

// Adopt takes the ruleset for what the kernel holds, if it does: what Apply is given then changes that. It says whether; the kernel is not
// changed.
func (t *Table) Adopt(held policy.Ruleset) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	table, err := t.o.table(held)
	var links []nft.Element
	if err == nil {
		links, err = t.heldLinks()
	}
	var is bool
	if err == nil {
		is, err = t.conn.Holds(withLinks(table, links))
	}
	if err == nil && is {
		err = t.readRevoked(false)
	}
	if err != nil {
		return false, fmt.Errorf("adopting the policy: %w", err)
	}
	if !is {
		return false, nil
	}
	t.know(held)
	if t.o.Theirs {
		err = t.changeLinks(links)
	}
	return err == nil, err
}

// know is what is remembered of the whole. mu is held.
func (t *Table) know(r policy.Ruleset) {
	t.pods, t.kinds, t.denials = map[string]policy.Binding{}, make(map[string]policy.SetKind, len(r.Sets)), make(map[string]denials, len(r.Chains))
	maps.Copy(t.pods, r.Pods)
	for name, s := range r.Sets {
		t.kinds[name] = s.Kind
	}
	for name, c := range r.Chains {
		t.denials[name] = denialsOf(c)
	}
	t.known = true
}

// Apply makes the kernel hold what it holds and the delta, by one transaction. It costs what the delta costs; nothing is read. After an error the
// kernel holds what it held before, and takes no other delta until it was set anew.
func (t *Table) Apply(d policy.Delta) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known {
		return fmt.Errorf("applying a change of policy: %w", ErrUnknown)
	}
	if d.Empty() {
		return nil
	}
	change, err := t.change(d)
	if err == nil {
		err = t.send(change)
	}
	if err != nil {
		t.known = false
		return fmt.Errorf("applying a change of policy: %w", err)
	}
	t.remember(d)
	return nil
}

// send carries out a change, and tells of it.
func (t *Table) send(change nft.Change) error {
	start := time.Now()
	err := t.conn.Change(nft.INet, TableName, change)
	done := Transaction{Chains: len(change.Chains) + len(change.StrayChains), Duration: time.Since(start), Err: err}
	for _, sets := range [][]nft.Set{change.Sets, change.Add, change.Remove} {
		for _, s := range sets {
			done.Elements += len(s.Elements)
		}
	}
	t.o.OnTransaction(done)
	return err
}

// Watch tells, until ctx ends, that somebody else changed the table, which calls for Set. The channel is closed at the end, and when the
// kernel ends the subscription.
func (t *Table) Watch(ctx context.Context) (<-chan struct{}, error) {
	changed, err := nft.Watch(ctx, TableName, TableName)
	if err != nil {
		return nil, fmt.Errorf("watching the policy table: %w", err)
	}
	return changed, nil
}

// Present says whether the kernel has the table, whatever is in it.
func (t *Table) Present() (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	is, err := t.conn.Has(nft.INet, TableName)
	if err != nil {
		return false, fmt.Errorf("looking for the policy table: %w", err)
	}
	return is, nil
}

// Remove uninstalls: it deletes the table. It says what it removed.
func Remove() (removed []string, err error) {
	conn, err := nft.Open()
	if err != nil {
		return nil, fmt.Errorf("removing the policy: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	is, err := conn.Has(nft.INet, TableName)
	if err == nil && is {
		err = conn.Delete(&nft.Table{Family: nft.INet, Name: TableName})
	}
	if err != nil {
		return nil, fmt.Errorf("removing the policy: %w", err)
	}
	if is {
		removed = []string{fmt.Sprintf("nftables table %s %s", nft.INet, TableName)}
	}
	return removed, nil
}
