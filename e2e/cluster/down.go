package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
)

// Down ends a cluster, whoever started it, and removes what is left of it. It is [lab.ErrNoLab] where there is nothing of it.
func Down(name string) error {
	left, err := remains()
	if err != nil {
		return err
	}
	if err := lab.Down(name); err != nil && (!errors.Is(err, lab.ErrNoLab) || !slices.Contains(left, name)) {
		return err
	}
	return remove(name)
}

// Sweep removes what is left of clusters whose owner is gone, and returns their names.
func Sweep() ([]string, error) {
	if _, err := lab.Sweep(); err != nil {
		return nil, err
	}
	names, err := remains()
	if err != nil {
		return nil, err
	}
	var swept []string
	var errs []error
	for _, name := range names {
		if _, err := lab.LoadState(name); !errors.Is(err, lab.ErrNoLab) {
			continue // it lives
		}
		if err := remove(name); err != nil {
			errs = append(errs, fmt.Errorf("removing cluster %s: %w", name, err))
			continue
		}
		swept = append(swept, name)
	}
	return swept, errors.Join(errs...)
}

// remains are the clusters of this machine that have control groups or a folder, living or not.
func remains() ([]string, error) {
	names, err := node.Clusters()
	if err != nil {
		return nil, err
	}
	base, err := base()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing clusters: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(names, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
