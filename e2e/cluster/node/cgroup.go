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

// leaf is the group below a node's in which cgroup v2 has the node's own processes: one whose controllers are handed on to others has none itself.
const leaf = "init"

// controllers are those of cgroup v2 that kubelet hands on, where the kernel has them.
var controllers = []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}

// hierarchy is one of cgroup v1's, or the only one of cgroup v2.
type hierarchy struct {
	path    string // where the machine has it mounted
	options string // by which it is mounted: "cpu,cpuacct" or "none,name=systemd"
	unified bool   // it is cgroup v2's
}

// hierarchies are those of this machine, as they are mounted: cgroup v2's where it has no controllers by v1.
func hierarchies() ([]hierarchy, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("finding control groups: %w", err)
	}
	found := parseHierarchies(string(content))
	if len(found) == 0 {
		return nil, errors.New("finding control groups: neither cgroup v2 nor v1 is mounted on this machine; mount -t cgroup2 none /sys/fs/cgroup")
	}
	return found, nil
}

func parseHierarchies(mountinfo string) (found []hierarchy) {
	var unified []hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		mount, of := strings.Fields(before), strings.Fields(after)
		switch {
		case len(mount) < 5 || len(of) < 3:
			continue
		case of[0] == "cgroup2":
			unified = []hierarchy{{path: mount[4], unified: true}}
			continue
		case of[0] != "cgroup":
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
	if len(found) == 0 {
		return unified
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
		err := makeGroup(at)
		switch {
		case err != nil:
		case h.unified:
			err = handOn(above)
		default:
			err = handDown(above, at)
		}
		if err != nil {
			return err
		}
	}
	if h.unified { // the node itself hands its own on
		return makeGroup(filepath.Join(at, leaf))
	}
	return nil
}

func makeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as all control groups are
		return err
	}
	return nil
}

// handDown gives a new group of v1's cpuset, which may use nothing and takes no process, what the one above it may use.
func handDown(above, to string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(above, file)) //nolint:gosec // the kernel's
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file), content, 0o600) //nolint:gosec // the kernel's
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// handOn hands all controllers that a group of cgroup v2 has on to those below it, but for those that it does already.
func handOn(group string) error {
	has, err := os.ReadFile(filepath.Join(group, "cgroup.controllers")) //nolint:gosec // the kernel's
	if err != nil {
		return err
	}
	file := filepath.Join(group, "cgroup.subtree_control")
	does, err := os.ReadFile(file) //nolint:gosec // the kernel's
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(has)) {
		if !slices.Contains(controllers, c) || slices.Contains(strings.Fields(string(does)), c) {
			continue
		}
		if err := os.WriteFile(file, []byte("+"+c), 0o600); err != nil { //nolint:gosec // the kernel's
			return fmt.Errorf("handing on %s: %w", c, err)
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

// removeGroup removes a group and those in it.
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
	for _, group := range groups {
		err := retryBusy(func() error { return unix.Rmdir(group) })
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: %w", group, err)
		}
	}
	return nil
}

// mountCgroups mounts the control groups of the calling process's namespace in a folder, as machines have them. Those of cgroup v2 it hands on to
// those that the node's programs make below.
func mountCgroups(dir string, all []hierarchy) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if all[0].unified {
		if err := unix.Mount("cgroup2", dir, "cgroup2", flags, ""); err != nil {
			return err
		}
		root := []hierarchy{{path: dir}}
		if err := join(root, leaf); err != nil {
			return err
		}
		// Whoever made the namespace may still be on its way out of the node's own group.
		return retryBusy(func() error { return handOn(dir) })
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=755"); err != nil {
		return err
	}
	for _, h := range all {
		path := filepath.Join(dir, filepath.Base(h.path))
		if err := os.Mkdir(path, 0o755); err != nil { //nolint:gosec // as all control groups are
			return err
		}
		if err := unix.Mount("cgroup", path, "cgroup", 0, h.options); err != nil {
			return fmt.Errorf("%s: %w", h.options, err)
		}
	}
	return nil
}

// retryBusy does something again while it finds a group busy: its last process is just leaving, or ending.
func retryBusy(do func() error) error {
	deadline := time.Now().Add(10 * time.Second)
	err := do()
	for errors.Is(err, unix.EBUSY) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		err = do()
	}
	return err
}
