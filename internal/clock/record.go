// Package clock notices that the node's clock went back.
//
// WireGuard's handshakes carry the time, and whoever receives one refuses those that are not newer than the last that it had from that
// peer (section 5.1 of its paper): a node whose clock went back cannot begin a session with its peers until its clock has caught up,
// or until they make their peer anew.
package clock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// FileName is the name of the record's file in the state folder.
const FileName = "clock"

// TempName is the pattern of the names that the file has while it is written.
const TempName = "." + FileName + "-*.tmp"

// maxSize is more than the file ever has, in bytes.
const maxSize = 32

// Record is how often the clock was seen to have gone back, and when it was last looked at. The file of it outlives a reboot: its
// content is the former, its modification time the latter. Where it cannot be written, the record is in memory only.
type Record struct {
	path string

	mu    sync.Mutex // guards what follows
	steps uint32
	seen  time.Time
}

// Open reads the record of a state folder. With an error, which says what is wrong with the file, the record is a new one.
func Open(dir string) (*Record, error) {
	r := &Record{path: filepath.Join(dir, FileName)}
	steps, seen, err := read(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return r, fmt.Errorf("reading %s, which says how often the clock went back: %w", r.path, err)
	}
	r.steps, r.seen = steps, seen
	return r, nil
}

func read(path string) (steps uint32, seen time.Time, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // in the state folder
	if err != nil {
		return 0, time.Time{}, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return 0, time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return 0, time.Time{}, fmt.Errorf("it is no file but %s", info.Mode())
	}
	content := make([]byte, maxSize)
	n, err := file.Read(content)
	if err != nil {
		return 0, time.Time{}, err
	}
	text := strings.TrimSuffix(string(content[:n]), "\n")
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("%q is no number of 32 bits", text)
	}
	return uint32(number), info.ModTime(), nil
}

// Steps is how often the clock went back.
func (r *Record) Steps() uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.steps
}

// Seen is when the clock was last looked at, by itself; zero where it never was.
func (r *Record) Seen() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// Look notes that the clock shows now. It changes no more than the file's time. A clock that went back is for [Record.Back] to note:
// here it is left out, so that whoever is told later that the clock was set can still see it.
func (r *Record) Look(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now = now.Round(0) // without the monotonic reading, which never goes back
	if now.Before(r.seen) {
		return nil
	}
	r.seen = now
	err := os.Chtimes(r.path, now, now)
	if errors.Is(err, fs.ErrNotExist) {
		return r.save()
	}
	return err
}

// Back counts that the clock went back, to now.
func (r *Record) Back(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	r.seen = now
	return r.save()
}

// save replaces the file, so that whoever reads it reads one number or the other.
func (r *Record) save() (err error) {
	file, err := os.CreateTemp(filepath.Dir(r.path), TempName)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = fmt.Fprintln(file, r.steps)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Chtimes(file.Name(), r.seen, r.seen); err != nil {
		return err
	}
	return os.Rename(file.Name(), r.path)
}
