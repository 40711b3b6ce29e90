package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// command runs a program and is what it prints; the error has what it said.
func command(ctx context.Context, words ...string) ([]byte, error) {
	return commandIn(ctx, "", words...)
}

// commandIn is command in a folder.
func commandIn(ctx context.Context, dir string, words ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // the words are ours
	// Not a distribution's language, and static binaries: nothing of the host's libraries is in the guest.
	c.Env = append(os.Environ(), "LC_ALL=C", "CGO_ENABLED=0")
	c.Dir = dir
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out, nil
}
