package main

import (
	"bytes"
	"testing"

	"github.com/warren-mesh/warren/internal/version"
)

// TestVersion: --version asks for nothing else, and says the build.
func TestVersion(t *testing.T) {
	var out bytes.Buffer
	root := command()
	root.SetArgs([]string{"--version"})
	root.SetOut(&out)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "warrend version " + version.String() + "\n"; out.String() != want {
		t.Errorf("it says %q, want %q", out.String(), want)
	}
}
