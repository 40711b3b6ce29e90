package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Snapshot is the state of a node that Warren could change, as text: links, addresses, routes, rules, nftables and
// files. Two of them are the same, byte by byte, where nothing changed but counters and times.
func (l *Lab) Snapshot(ctx context.Context, n *Node) (string, error) {
	network, err := n.SnapshotNetwork(ctx)
	if err != nil {
		return "", err
	}
	files, err := n.SnapshotFiles([]string{Base(), l.dir}, "/run", stateDir, "/etc/cni")
	return network + files, err
}

// SnapshotNetwork is the part of a Snapshot that the kernel holds.
func (n *Node) SnapshotNetwork(ctx context.Context) (string, error) {
	var b strings.Builder
	for _, command := range []string{
		"ip -details link show", "ip address show",
		"ip -4 route show table all", "ip -6 route show table all",
		"ip -4 rule show", "ip -6 rule show",
		"nft --stateless list ruleset",
	} {
		args := strings.Fields(command)
		out, err := n.Run(ctx, args[0], args[1:]...)
		if err != nil {
			return "", fmt.Errorf("taking a snapshot: %w", err)
		}
		fmt.Fprintf(&b, "# %s\n%s\n", command, normalise(out))
	}
	return b.String(), nil
}

// SnapshotFiles is the part of a Snapshot that is in these folders, but for what is at the paths of except.
func (n *Node) SnapshotFiles(except []string, dirs ...string) (string, error) {
	var b strings.Builder
	for _, dir := range dirs {
		fmt.Fprintf(&b, "# find %s\n", dir)
		if err := n.Inside(func() error { return list(&b, dir, except) }); err != nil {
			return "", fmt.Errorf("taking a snapshot of %s: %w", n.Name, err)
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

// passing are what changes by itself.
var passing = regexp.MustCompile(`( expires \d+sec| (valid|preferred)_lft \d+sec| qlen \d+)`)

func normalise(text string) string { return passing.ReplaceAllString(text, "") }

// list writes every file of a folder with its mode and what it holds.
func list(b *strings.Builder, dir string, except []string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if slices.Contains(except, path) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		what := ""
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path) //nolint:gosec // what WalkDir found
			if err != nil {
				return err
			}
			what = fmt.Sprintf(" sha256:%x", sha256.Sum256(content))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what = " -> " + target
		}
		fmt.Fprintf(b, "%s %s%s\n", info.Mode(), path, what)
		return nil
	})
}
