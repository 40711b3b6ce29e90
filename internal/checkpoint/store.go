// Package checkpoint keeps the last good plan of a node on disk, so that a node that reboots while the API server is away comes up
// meshed. The plan holds no secret; it is for the agent's own user all the same.
package checkpoint

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/owned"
	"github.com/warren-mesh/warren/mesh"
)

const (
	// FileName is the name of the checkpoint in the agent's folder.
	FileName = "plan"
	// TempName is the name of one that is being written.
	TempName = ".plan.tmp"
	// MaxSize is the largest file that is read or written, in bytes. A plan of 5,000 peers has 2 MiB.
	MaxSize = 64 << 20

	fileMode fs.FileMode = 0o600
)

// Store is the checkpoint of one folder, which must be there. Its methods may be called concurrently.
type Store struct {
	dir string

	mu sync.Mutex // guards what follows, and that one write follows another
	// known is the digest of what the file is known to hold, and file how it looked then; nil where it is not known.
	known [sha256.Size]byte
	file  fs.FileInfo
	// saved is the plan of the last Save that left the file with it, so that the same again need not be encoded.
	saved mesh.Plan
}

// New is a store in a folder. Nothing is read or written yet.
func New(dir string) *Store { return &Store{dir: filepath.Clean(dir)} }

// Path is where the checkpoint is.
func (s *Store) Path() string { return filepath.Join(s.dir, FileName) }

// Load reads the plan, which must be of this node and key. The error is fs.ErrNotExist where there is none, and says what is
// wrong with one that cannot be used; it is left as it is until Save replaces it.
func (s *Store) Load(node string, key identity.PublicKey) (mesh.Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.saved = nil, mesh.Plan{}
	content, info, err := owned.Read("last good plan", s.Path(), fileMode, MaxSize)
	if err != nil {
		return mesh.Plan{}, err
	}
	plan, err := Decode(content)
	if err != nil {
		return mesh.Plan{}, fmt.Errorf("reading %s: %w", s.Path(), err)
	}
	switch {
	case plan.Node != node:
		return mesh.Plan{}, fmt.Errorf("reading %s: it is of node %s, and this is %s", s.Path(), plan.Node, node)
	case plan.Lanes[0].PublicKey != key:
		return mesh.Plan{}, fmt.Errorf("reading %s: it is of public key %s, and this node's is %s", s.Path(), plan.Lanes[0].PublicKey, key)
	}
	s.known, s.file = sha256.Sum256(content), info
	return plan, nil
}

// Save makes the plan the one on disk, and says whether that took a write: none where the file holds it already. Whatever
// happens meanwhile, the file holds one plan or the other, whole. The plan is kept, and must not be changed after.
func (s *Store) Save(plan mesh.Plan) (written bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	untouched := s.untouched()
	if untouched && plan.Equal(s.saved) {
		return false, nil
	}
	content, err := Encode(plan)
	if err != nil {
		return false, err
	}
	digest := sha256.Sum256(content)
	if untouched && digest == s.known {
		s.saved = plan
		return false, nil
	}
	s.file = nil
	info, err := write(s.dir, FileName, content)
	if err != nil {
		return false, fmt.Errorf("writing the last good plan: %w", err)
	}
	s.known, s.file, s.saved = digest, info, plan
	return true, nil
}

// untouched says whether the file is the very one that is known. mu is held.
func (s *Store) untouched() bool {
	if s.file == nil {
		return false
	}
	now, err := os.Lstat(s.Path())
	return err == nil && os.SameFile(now, s.file) && now.Size() == s.file.Size() && now.Mode() == s.file.Mode() &&
		now.ModTime().Equal(s.file.ModTime())
}

// write replaces a file by rename, after all of the new one is on the disk. What a writer that died has left goes first.
func write(dir, name string, content []byte) (fs.FileInfo, error) {
	temp := filepath.Join(dir, "."+name+".tmp")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode) //nolint:gosec // in the agent's folder
	if err != nil {
		return nil, err
	}
	info, err := fill(file, content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(temp))
	}
	return info, syncDir(dir)
}

// fill returns when the content is on the disk.
func fill(file *os.File, content []byte) (fs.FileInfo, error) {
	if _, err := file.Write(content); err != nil {
		return nil, err
	}
	// The mode that was asked for is less where the umask says so.
	if err := errors.Join(file.Chmod(fileMode), file.Sync()); err != nil {
		return nil, err
	}
	return file.Stat()
}

func syncDir(dir string) error {
	folder, err := os.Open(dir) //nolint:gosec // the agent's folder
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
