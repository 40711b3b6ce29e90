package cni

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	tombstoneFolder = "deleted"
	tombstoneTemp   = ".tmp"
)

// TombstoneDir is where the plugin says, beside the agent's socket, what it deleted while the agent was away. It does not outlive the
// machine, and neither does any pod.
func TombstoneDir(socket string) string { return filepath.Join(filepath.Dir(socket), tombstoneFolder) }

// Bury leaves a request to delete for an agent that is away. Whatever happens meanwhile, there is all of it or nothing.
func Bury(dir string, r Request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("leaving a deletion for the agent: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("leaving a deletion for the agent: %w", err)
	}
	digest := sha256.Sum256([]byte(r.ContainerID + "/" + r.Interface))
	path := filepath.Join(dir, hex.EncodeToString(digest[:]))
	temp := fmt.Sprintf("%s.%d%s", path, os.Getpid(), tombstoneTemp)
	if err := errors.Join(os.WriteFile(temp, text, 0o600), os.Rename(temp, path)); err != nil {
		return errors.Join(fmt.Errorf("leaving a deletion for the agent: %w", err), os.Remove(temp))
	}
	return nil
}

// Tombstone is a deletion that the plugin left.
type Tombstone struct {
	Request
	Path string
}

// Tombstones are those of a folder. One that cannot be read is an error beside the others.
func Tombstones(dir string) (found []Tombstone, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the deletions that the plugin left: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), tombstoneTemp) {
			continue // Of a plugin that writes it now, or was killed.
		}
		t, err := readTombstone(filepath.Join(dir, entry.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, t)
	}
	return found, errors.Join(errs...)
}

func readTombstone(path string) (Tombstone, error) {
	info, err := os.Lstat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > 2*MaxSize) {
		err = fmt.Errorf("%s is none", path)
	}
	if err != nil {
		return Tombstone{}, fmt.Errorf("reading a deletion that the plugin left: %w", err)
	}
	text, err := os.ReadFile(path) //nolint:gosec // root's own folder
	if err != nil {
		return Tombstone{}, fmt.Errorf("reading a deletion that the plugin left: %w", err)
	}
	t := Tombstone{Path: path}
	if err := json.Unmarshal(text, &t.Request); err != nil {
		return Tombstone{}, fmt.Errorf("reading a deletion that the plugin left: %s: %w", path, err)
	}
	return t, nil
}
