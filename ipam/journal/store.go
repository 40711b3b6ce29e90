// Package journal keeps a node's leases on disk: what happened, line after line, so that a lease costs one append and a flush, and
// leases that come at the same time share the flush.
package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/owned"
	"github.com/warren-mesh/warren/ipam"
)

const (
	// Folder is the name of the leases' folder in the agent's.
	Folder = "leases"
	// FileName is the name of the journal in it.
	FileName = "journal"
	// TempName is the name of one that is being written.
	TempName = ".journal.tmp"
	// MaxSize is the largest journal that is read, in bytes. It is written anew long before.
	MaxSize = 64 << 20

	// spare is how many records more than a new journal would have there may be before one is written.
	spare = 1000
)

// Options are for tests; the zero value is what the agent runs with.
type Options struct {
	// OnStep is told before each step that leaves something on the disk.
	OnStep func(step string)
}

// Store is a table of leases, each change of which is on the disk. Its methods may be called concurrently.
type Store struct {
	dir    string
	folder *os.File // holds the lock
	onStep func(string)

	mu    sync.Mutex // guards what follows
	table *ipam.Table
	// file is how the journal looked when it was begun, nil where what is there is not to be written to. size is how much of it is whole,
	// records how many there are in it, and written counts them over the life of the Store.
	file    fs.FileInfo
	size    int64
	records int
	written uint64
	// synced is how many of the written records are on the disk.
	synced uint64

	syncing sync.Mutex // held while the file is brought to the disk; taken before mu
}

// Open reads the leases in a folder, made if need be; first is asked for those to begin with where there are none yet. An end that was being
// written when the power went was never answered for, and is cut off. What is no journal, or lacks lines, is an error, and left as it is.
func Open(dir string, first func() ([]ipam.Lease, error), options Options) (*Store, error) {
	s := &Store{dir: filepath.Clean(dir), onStep: options.OnStep}
	if s.onStep == nil {
		s.onStep = func(string) {}
	}
	if err := s.lock(); err != nil {
		return nil, fmt.Errorf("opening the leases: %w", err)
	}
	err := s.load()
	if errors.Is(err, fs.ErrNotExist) {
		err = s.begin(first)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the leases: %w", err), s.Close())
	}
	return s, nil
}

// lock makes the folder and keeps other agents out of it until Close.
func (s *Store) lock() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	folder, err := os.OpenFile(s.dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("locking %s (does another agent run?): %w", s.dir, err), folder.Close())
	}
	s.folder = folder
	return nil
}

func (s *Store) load() error {
	content, info, err := owned.Read("journal of leases", s.Path(), fileMode, MaxSize)
	if err != nil {
		return err
	}
	table, whole, records, err := decode(content)
	if err != nil {
		return fmt.Errorf("reading %s: %w; it is left as it is: move it away, and addresses in use are passed over as the kernel "+
			"knows them", s.Path(), err)
	}
	s.table, s.records = table, records
	if whole == len(content) && records <= s.most() {
		s.file, s.size = info, int64(whole)
		return nil
	}
	return s.rewrite()
}

// begin makes the first journal.
func (s *Store) begin(first func() ([]ipam.Lease, error)) error {
	s.table = ipam.New()
	leases, err := first()
	if err != nil {
		return err
	}
	for _, l := range leases {
		if err := s.table.Grant(l); err != nil {
			return err
		}
	}
	return s.rewrite()
}

// Path is where the journal is.
func (s *Store) Path() string { return filepath.Join(s.dir, FileName) }

// Close lets the journal go. What is in it stays.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.folder.Close()
}

// Allocate gives a lease to a request and writes it, and says whether it is a new one. It is on the disk when Sync has returned after.
func (s *Store) Allocate(r ipam.Request, source ipam.Source, now time.Time) (lease ipam.Lease, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lease, err = s.table.Choose(r, source, now)
	if err != nil {
		return ipam.Lease{}, false, err
	}
	_, held := s.table.Lease(r.Key)
	if held && lease.Request == r {
		return lease, false, nil
	}
	lease.Request = r // It may have come by another path this time.
	if err := s.append(record{Grant: &lease}); err != nil {
		return ipam.Lease{}, false, err
	}
	return lease, !held, s.table.Grant(lease)
}

// Release ends a lease, and says whether there was one. That it ended reaches the disk with the next lease at the latest; if the power
// goes before, the lease is found without a pod and ends again.
func (s *Store) Release(k ipam.Key, now time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.table.Lease(k); !ok {
		return false, nil
	}
	if err := s.append(record{Release: &release{Key: k, At: now}}); err != nil {
		return false, err
	}
	return s.table.Release(k, now), nil
}

// Lease is the one that a key has.
func (s *Store) Lease(k ipam.Key) (ipam.Lease, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Lease(k)
}

// Leases are all, in no order.
func (s *Store) Leases() []ipam.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Leases()
}

// Any says whether something holds for one of the leases. It is asked while they are locked.
func (s *Store) Any(holds func(ipam.Lease) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Any(holds)
}

// Uses are how a source's prefixes are used.
func (s *Store) Uses(source ipam.Source, now time.Time) ([]ipam.Use, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Uses(source, now)
}

// Forget lets go of what is remembered of addresses that are nobody's and in none of the prefixes. What of that is on the disk goes with
// the next journal.
func (s *Store) Forget(prefixes []netip.Prefix, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Forget(prefixes, now)
}
