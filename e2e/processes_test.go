package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// processes are the command lines of the processes in a node's network namespace, by process id of the machine. Pods' are not among
// them.
func processes(t *testing.T, n *lab.Node) map[int]string {
	t.Helper()
	want, err := os.Readlink(n.NetNS())
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, file := range files {
		if ns, err := os.Readlink(file); err != nil || ns != want {
			continue // somebody else's, or it has just ended
		}
		dir := filepath.Dir(filepath.Dir(file))
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		id, err2 := strconv.Atoi(filepath.Base(dir))
		if err == nil && err2 == nil && len(line) > 0 {
			found[id] = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
