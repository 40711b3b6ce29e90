package node

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Processes are those of the control groups of a node whose path has a part of that name, as the machine numbers them.
func Processes(cluster, name, part string) ([]int, error) {
	all, err := hierarchies()
	if err != nil {
		return nil, err
	}
	top := filepath.Join(all[0].path, parent, cluster, name)
	var pids []int
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" || !slices.Contains(strings.Split(path, "/"), part) {
			return err
		}
		content, err := os.ReadFile(path) //nolint:gosec // the kernel's
		if err != nil {
			return err
		}
		for _, word := range strings.Fields(string(content)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("finding the processes of %s: %w", part, err)
	}
	return pids, nil
}
