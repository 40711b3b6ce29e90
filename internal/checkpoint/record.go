package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/warren-mesh/warren/internal/owned"
)

// record is a sealed file with one value, which is written where it holds something else. Its methods may be called concurrently.
type record struct {
	dir, name string
	// magic is how the file begins, what is the file to a reader, and holds is what is in it.
	magic, what, holds string

	mu sync.Mutex // guards known, and that one write follows another
	// known is what the file holds; nil where that is not known.
	known []byte
}

// Path is where the file is.
func (r *record) Path() string { return filepath.Join(r.dir, r.name) }

// load reads the file into a value, which check may refuse. The error is fs.ErrNotExist where there is none, and says what is wrong with one that
// cannot be used.
func (r *record) load(value any, check func() error) error {
	content, _, err := owned.Read(r.what, r.Path(), fileMode, MaxSize)
	if err != nil {
		return err
	}
	body, err := unseal(r.magic, content)
	if err == nil {
		if err = parse(body, value); err != nil {
			err = fmt.Errorf("parsing it: %w", err)
		}
	}
	if err == nil {
		err = check()
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.Path(), err)
	}
	return nil
}

// save writes the file where it holds something else.
func (r *record) save(value any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.write(value); err != nil {
		return fmt.Errorf("writing %s: %w", r.holds, err)
	}
	return nil
}

// write is save. mu is held.
func (r *record) write(value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	content := sealAs(r.magic, append(body, '\n'))
	if len(content) > MaxSize {
		return fmt.Errorf("%d bytes are more than the %d that are read", len(content), MaxSize)
	}
	if bytes.Equal(content, r.known) {
		return nil
	}
	r.known = nil
	if _, err := write(r.dir, r.name, content); err != nil {
		return err
	}
	r.known = content
	return nil
}

// ofNode is an error where what was read is another node's.
func ofNode(is, want string) error {
	if is != want {
		return fmt.Errorf("it is of node %.64q, and this is %s", is, want)
	}
	return nil
}
