package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// parent holds the control groups of all clusters, in every hierarchy.
const parent = "warren-cluster"

// hierarchy is one of cgroup v1's.
type hierarchy struct {
	path    string // where the machine has it mounted
	options string // by which it is mounted: "cpu,cpuacct" or "none,name=systemd"
}

// hierarchies are those of this machine, as they are mounted.
func hierarchies() ([]hierarchy, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("finding control groups: %w", err)
	}
	found := parseHierarchies(string(content))
	if len(found) == 0 {
		return nil, errors.New("finding control groups: this machine has none of cgroup v1, and a node's control groups under cgroup v2 are " +
			"not made yet; boot with systemd.unified_cgroup_hierarchy=0")
	}
	return found, nil
}

func parseHierarchies(mountinfo string) (found []hierarchy) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		mount, of := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(of) < 3 || of[0] != "cgroup" {
			continue
		}
		options := slices.DeleteFunc(strings.Split(of[2], ","), func(o string) bool {
			return slices.Contains([]string{"rw", "ro", "xattr", "noprefix", "clone_children"}, o) || strings.HasPrefix(o, "release_agent=")
		})
		if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "name=") }) {
			options = append([]string{"none"}, options...)
		}
		found = append(found, hierarchy{path: mount[4], options: strings.Join(options, ",")})
	}
	return found
}

// MakeCgroups makes the control groups of a cluster's node and returns their path below every hierarchy's root.
func MakeCgroups(cluster, name string) (string, error) {
	all, err := hierarchies()
	if err != nil {
		return "", err
	}
	group := filepath.Join(parent, cluster, name)
	for _, h := range all {
		if err := h.make(group); err != nil {
			return "", fmt.Errorf("making control groups: %w", err)
		}
	}
	return group, nil
}

func (h hierarchy) make(group string) error {
	at := h.path
	for part := range strings.SplitSeq(group, "/") {
		above := at
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as all control groups are
			return err
		}
		// A new group of cpuset's may use nothing, and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			content, err := os.ReadFile(filepath.Join(above, file)) //nolint:gosec // the kernel's
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(at, file), content, 0o600) //nolint:gosec // the kernel's
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// join puts this process into a control group of every hierarchy.
func join(all []hierarchy, group string) error {
	for _, h := range all {
		if err := os.WriteFile(filepath.Join(h.path, group, "cgroup.procs"), []byte("0"), 0o600); err != nil {
			return fmt.Errorf("joining a control group: %w", err)
		}
	}
	return nil
}

// Clusters are those that have control groups.
func Clusters() ([]string, error) {
	all, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range all {
		entries, err := os.ReadDir(filepath.Join(h.path, parent))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing control groups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}

// RemoveCgroups removes a cluster's control groups, whose processes were told to end, and with the last cluster's what held them.
func RemoveCgroups(cluster string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		top := filepath.Join(h.path, parent)
		if err := removeGroup(filepath.Join(top, cluster)); err != nil {
			return fmt.Errorf("removing control groups: %w", err)
		}
		_ = os.Remove(top) // not while there are others
	}
	return nil
}

// RemoveNodeCgroups removes the control groups of one node, whose processes were told to end.
func RemoveNodeCgroups(cluster, name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := removeGroup(filepath.Join(h.path, parent, cluster, name)); err != nil {
			return fmt.Errorf("removing control groups: %w", err)
		}
	}
	return nil
}

// removeGroup removes a group and those in it. One whose last process is just ending is busy for a moment.
func removeGroup(dir string) error {
	var groups []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(groups) // what is inside goes first
	deadline := time.Now().Add(10 * time.Second)
	for _, group := range groups {
		err := unix.Rmdir(group)
		for errors.Is(err, unix.EBUSY) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
			err = unix.Rmdir(group)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: %w", group, err)
		}
	}
	return nil
}
