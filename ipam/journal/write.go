package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const fileMode = 0o600

// append writes a record after the others; mu is held. What could not be written whole is taken back.
func (s *Store) append(r record) error {
	line, err := appendRecord(nil, r)
	if err != nil {
		return err
	}
	if s.file == nil {
		if err := s.rewrite(); err != nil {
			return err
		}
	}
	s.onStep("write")
	if _, err := s.file.WriteAt(line, s.size); err != nil {
		if s.file.Truncate(s.size) != nil {
			s.drop() // The next record is written to a new journal.
		}
		return fmt.Errorf("writing a lease: %w", err)
	}
	s.size += int64(len(line))
	s.records++
	s.written++
	return nil
}

// Sync returns when all that was written before is on the disk. Of callers at the same time one does it for all.
func (s *Store) Sync() error {
	s.mu.Lock()
	want := s.written
	s.mu.Unlock()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	file, written, done := s.file, s.written, s.synced >= want
	s.mu.Unlock()
	if done {
		return nil
	}
	err := s.flush(file)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// What the kernel could not write it may have forgotten: only a new file says what is on the disk.
		s.drop()
		if again := s.rewrite(); again != nil {
			return fmt.Errorf("writing the leases to disk: %w", errors.Join(err, again))
		}
		return nil
	}
	s.synced = written
	if s.records > s.most() {
		_ = s.rewrite() // The long one does as well; the next Sync tries again.
	}
	return nil
}

func (s *Store) flush(file *os.File) error {
	if file == nil {
		return os.ErrClosed
	}
	s.onStep("sync")
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var synced error
	return errors.Join(conn.Control(func(fd uintptr) { synced = unix.Fdatasync(int(fd)) }), synced)
}

// most is how many records there may be before a new journal is written; mu is held.
func (s *Store) most() int { return spare + 2*len(s.table.Leases()) }

// drop gives the file up, which is not to be written to any more; mu is held.
func (s *Store) drop() {
	if s.file != nil {
		_ = s.file.Close() // Nothing that counts is lost with it.
	}
	s.file = nil
}

// rewrite replaces the journal by one that says no more than what holds now; mu is held. Whatever happens meanwhile, there is the one or
// the other, whole.
func (s *Store) rewrite() error {
	content, records, err := encode(s.table)
	if err != nil {
		return err
	}
	replaced, err := s.replace(content)
	if replaced {
		s.drop()
	}
	if err != nil {
		return fmt.Errorf("writing the leases anew: %w", err)
	}
	s.records, s.synced = records, s.written
	return s.open(int64(len(content)))
}

// replace says whether the journal is another now, which it may be where that could not be brought to the disk.
func (s *Store) replace(content []byte) (replaced bool, err error) {
	temp := filepath.Join(s.dir, TempName)
	s.onStep("create")
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, fileMode) //nolint:gosec // in the agent's folder
	if err != nil {
		return false, err
	}
	_, err = file.Write(content)
	s.onStep("sync the new one")
	// The mode that was asked for is less where the umask says so.
	if err = errors.Join(err, file.Chmod(fileMode), file.Sync(), file.Close()); err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	s.onStep("rename")
	if err := os.Rename(temp, s.Path()); err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	s.onStep("sync the folder")
	return true, s.folder.Sync()
}

// open opens the journal for what comes after the first size bytes.
func (s *Store) open(size int64) error {
	file, err := os.OpenFile(s.Path(), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	s.file, s.size = file, size
	return nil
}

// read reads a journal: a regular file, not reached by a symbolic link, the effective user's own, and not too large.
func read(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // in the agent's folder; checked below
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("opening %s: it is a symbolic link, want a regular file", path)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(info); err != nil {
		return nil, fmt.Errorf("examining %s: %w", path, err)
	}
	return io.ReadAll(io.LimitReader(file, MaxSize+1))
}
