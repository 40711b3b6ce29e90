package main

import (
	"context"
	"sync"
	"time"

	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/nft"
)

// batch is how long the agent lets what comes right after a change wait.
const batch = 2 * time.Millisecond

// enforcer keeps an index's policy in the kernel as the agent does: whoever hears of a change wakes a loop, which tells the index and has the
// kernel hold what follows from it, by one transaction.
type enforcer struct {
	index *policy.Index
	table *nft.Table
	loop  *loop.Runner
	// committed is told of each run that had a change.
	committed chan error
	// transaction is how long the last one took. Only the loop writes it, before committed.
	transaction time.Duration

	mu     sync.Mutex // guards change
	change func()
}

func newEnforcer() (e *enforcer, err error) {
	e = &enforcer{index: policy.NewIndex(), committed: make(chan error, 1)}
	e.loop = loop.New(e.run, loop.Options{Min: batch})
	e.table, err = nft.New(nft.Options{LogGroup: logGroup, OnTransaction: func(t nft.Transaction) { e.transaction = t.Duration }})
	return e, err
}

// logGroup has each rule that denies log, as an agent's may.
const logGroup = 5

// start has the kernel hold all that the index knows, and the loop run until ctx ends.
func (e *enforcer) start(ctx context.Context) error {
	if err := e.whole(); err != nil {
		return err
	}
	go e.loop.Run(ctx)
	return nil
}

// whole is what the agent does first, and from time to time to see whether the kernel still holds what it should.
func (e *enforcer) whole() error {
	e.index.Take()
	_, err := e.table.Set(e.index.Ruleset())
	return err
}

func (e *enforcer) run(context.Context) error {
	e.mu.Lock()
	change := e.change
	e.change = nil
	e.mu.Unlock()
	if change == nil {
		return nil
	}
	change()
	e.transaction = 0
	err := e.table.Apply(e.index.Take())
	e.committed <- err
	return err
}

// after is the time from when a change is heard of to when the kernel holds what follows, and the transaction's part in it. It comes alone:
// what would wait for a batch has been waited for before.
func (e *enforcer) after(change func()) (took, transaction time.Duration, err error) {
	time.Sleep(batch + batch/2)
	began := time.Now()
	e.mu.Lock()
	e.change = change
	e.mu.Unlock()
	e.loop.Trigger()
	err = <-e.committed
	return time.Since(began), e.transaction, err
}
