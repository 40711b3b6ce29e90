package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes a cpio archive of the kind that the kernel unpacks as its first root ("newc": Documentation/driver-api/early-userspace/
// buffer-format.rst). Folders are entered before what is in them.
type archive struct {
	to    *bufio.Writer
	inode int
	have  map[string]bool
	err   error // the first
}

func newArchive(w io.Writer) *archive {
	return &archive{to: bufio.NewWriterSize(w, 1<<20), have: map[string]bool{"/": true, ".": true}}
}

const (
	typeFolder = 0o040000
	typeFile   = 0o100000
	typeLink   = 0o120000
)

// entry adds an entry with what is above it; the name is absolute. What is there already stays.
func (a *archive) entry(name string, mode uint32, size int64, content io.Reader) {
	if a.err != nil || a.have[name] {
		return
	}
	a.folder(path.Dir(name))
	a.have[name] = true
	a.header(name[1:], mode, size)
	n, err := io.Copy(a.to, content)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes, want %d", n, size)
	}
	if err != nil {
		a.err = fmt.Errorf("archiving %s: %w", name, err)
	}
	a.pad(int(size % 4))
}

func (a *archive) header(name string, mode uint32, size int64) {
	a.inode++
	// Magic, inode, mode, owner, group, links, time, size, four device numbers, length of the name, checksum.
	fmt.Fprintf(a.to, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0)
	_, _ = a.to.WriteString(name + "\x00") // the writer keeps its error for Flush
	a.pad((110 + len(name) + 1) % 4)
}

// pad fills up to four bytes.
func (a *archive) pad(over int) {
	if over != 0 {
		_, _ = a.to.WriteString("\x00\x00\x00"[:4-over]) // the writer keeps its error for Flush
	}
}

func (a *archive) folder(name string) {
	if a.have[name] {
		return
	}
	a.entry(name, typeFolder|0o755, 0, strings.NewReader(""))
}

func (a *archive) link(name, target string) { a.text(name, typeLink|0o777, target) }

func (a *archive) text(name string, mode uint32, content string) {
	a.entry(name, mode, int64(len(content)), strings.NewReader(content))
}

// file adds a copy of a file of this machine.
func (a *archive) file(name, source string) {
	if a.err != nil || a.have[name] {
		return
	}
	f, err := os.Open(source) //nolint:gosec // ours, or the system's
	if err != nil {
		a.err = err
		return
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		a.err = err
		return
	}
	a.entry(name, typeFile|uint32(info.Mode().Perm()), info.Size(), f)
}

// close ends the archive and is the first error.
func (a *archive) close() error {
	a.header("TRAILER!!!", 0, 0)
	if err := a.to.Flush(); a.err == nil {
		a.err = err
	}
	return a.err
}
