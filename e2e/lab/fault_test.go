package lab

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDisks: a state folder that is full, and one that is read-only, for the node's own processes, and neither afterwards.
func TestDisks(t *testing.T) {
	n := New(t, bare(1, IPv4)).Node("n1")
	kept := filepath.Join(stateDir, "kept")
	write := func(content string) error {
		return n.Inside(func() error { return os.WriteFile(kept, []byte(content), 0o600) })
	}
	want := func(content string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(n.StateDir(), "kept"))
		if err != nil || string(got) != content {
			t.Errorf("the state folder holds %q, %v; want %q", got, err, content)
		}
	}
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	check("writing", write("before"))
	check("filling", n.FillState())
	out, err := n.Run(t.Context(), "cat", kept)
	if err != nil || out != "before" {
		t.Errorf("on the full disk: %q, %v", out, err)
	}
	if err := n.Inside(func() error { return os.WriteFile(filepath.Join(stateDir, "new"), []byte("x"), 0o600) }); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing to a full disk: %v, want %v", err, unix.ENOSPC)
	}
	check("removing", n.Inside(func() error { return os.Remove(filepath.Join(stateDir, "new")) }))
	check("draining", n.DrainState())
	want("before")
	check("writing", write("between"))

	check("protecting", n.ProtectState(true))
	if err := write("never"); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to a read-only disk: %v, want %v", err, unix.EROFS)
	}
	check("making writable", n.ProtectState(false))
	want("between")
	check("writing", write("after"))
	want("after")
}

// TestCutBetween: two nodes do not hear each other, and everybody else as before.
func TestCutBetween(t *testing.T) {
	l := New(t, bare(3, IPv4))
	n1, n2, n3 := l.Node("n1"), l.Node("n2"), l.Node("n3")
	ping := func(from, to *Node) error {
		return from.Ping(t.Context(), to.Addresses[0], PingOptions{Timeout: 300 * time.Millisecond})
	}
	if err := l.CutBetween(n1, n2); err != nil {
		t.Fatal(err)
	}
	if ping(n1, n2) == nil || ping(n2, n1) == nil {
		t.Error("nodes that are cut from each other reach each other")
	}
	if err := errors.Join(ping(n1, n3), ping(n3, n1), ping(n2, n3), ping(n3, n2)); err != nil {
		t.Error(err)
	}
	if err := l.HealBetween(n1, n2); err != nil {
		t.Fatal(err)
	}
	// They may be about to ask for the other's hardware address once more, which takes a second.
	for _, pair := range [][2]*Node{{n1, n2}, {n2, n1}} {
		if err := pair[0].Ping(t.Context(), pair[1].Addresses[0], PingOptions{Timeout: 5 * time.Second}); err != nil {
			t.Error(err)
		}
	}
}
