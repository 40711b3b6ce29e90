package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const fileMode = 0o600

// append writes a record after the others; mu is held. What could not be written whole is taken back. The file is opened anew each time, and
// written anew where it is not the one that we left: somebody may have replaced it, or the disk under it.
func (s *Store) append(r record) error {
	line, err := appendRecord(nil, r)
	if err != nil {
		return err
	}
	file, err := s.open()
	if err != nil {
		return fmt.Errorf("writing a lease: %w", err)
	}
	s.onStep("write")
	_, err = file.WriteAt(line, s.size)
	if err != nil && file.Truncate(s.size) != nil {
		s.file = nil // The next record is written to a new journal.
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing a lease: %w", err)
	}
	s.size += int64(len(line))
	s.records++
	s.written++
	return nil
}

// open opens the journal, which holds what was written and no more; mu is held.
func (s *Store) open() (*os.File, error) {
	if !s.untouched() {
		if err := s.rewrite(); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(s.Path(), os.O_WRONLY|unix.O_NOFOLLOW, 0)
}

// untouched says whether the file is the one that we left; mu is held.
func (s *Store) untouched() bool {
	now, err := os.Lstat(s.Path())
	return err == nil && s.file != nil && os.SameFile(now, s.file) && now.Size() == s.size && now.Mode() == fileMode
}

// Sync returns when all that was written before is on the disk. Of callers at the same time one does it for all.
func (s *Store) Sync() error {
	s.mu.Lock()
	want := s.written
	s.mu.Unlock()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	written, done := s.written, s.synced >= want
	s.mu.Unlock()
	if done {
		return nil
	}
	err := s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || !s.same() {
		// What the kernel could not write it may have forgotten: only a new file says what is on the disk.
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

// same says whether the file that was flushed is the one that was written to; mu is held.
func (s *Store) same() bool {
	now, err := os.Lstat(s.Path())
	return err == nil && s.file != nil && os.SameFile(now, s.file)
}

func (s *Store) flush() error {
	file, err := os.OpenFile(s.Path(), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	s.onStep("sync")
	return errors.Join(unix.Fdatasync(int(file.Fd())), file.Close())
}

// most is how many records there may be before a new journal is written; mu is held.
func (s *Store) most() int { return spare + 2*len(s.table.Leases()) }

// rewrite replaces the journal by one that says no more than what holds now; mu is held. Whatever happens meanwhile, there is the one or
// the other, whole.
func (s *Store) rewrite() error {
	content, records, err := encode(s.table)
	if err != nil {
		return err
	}
	replaced, err := s.replace(content)
	if replaced {
		s.file = nil
	}
	if err != nil {
		return fmt.Errorf("writing the leases anew: %w", err)
	}
	if s.file, err = os.Lstat(s.Path()); err != nil {
		return fmt.Errorf("writing the leases anew: %w", err)
	}
	s.size, s.records, s.synced = int64(len(content)), records, s.written
	return nil
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
	return true, syncDir(s.dir)
}

func syncDir(dir string) error {
	folder, err := os.Open(dir) //nolint:gosec // the agent's folder
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
