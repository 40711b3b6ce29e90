package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unfinished begins the name of a folder that is not a lab yet.
const unfinished = ".new-"

// Down ends a lab, whoever started it, and removes its folder. It is [ErrNoLab] where there is none.
func Down(name string) error {
	s, err := LoadState(name)
	if err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return fmt.Errorf("ending lab %s: %w", name, err)
	}
	return removeLab(filepath.Join(Base(), name))
}

// end asks the owner to end the lab; who does not hear is killed.
func (s State) end() error {
	if err := s.Owner.signal(unix.SIGTERM); err != nil {
		return err
	}
	if s.Owner.waitGone(20*time.Second) != nil {
		if err := s.Owner.signal(unix.SIGKILL); err != nil {
			return err
		}
		if err := s.Owner.waitGone(10 * time.Second); err != nil {
			return err
		}
	}
	if err := s.Init.signal(unix.SIGKILL); err != nil {
		return err
	}
	return s.Init.waitGone(10 * time.Second)
}

// Sweep removes what is left of labs whose owner is gone, and returns their names.
func Sweep() ([]string, error) {
	entries, err := os.ReadDir(Base())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing labs: %w", err)
	}
	var swept []string
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(Base(), e.Name())
		if !e.IsDir() || !abandoned(dir, e) {
			continue
		}
		s, err := readState(dir)
		if err == nil {
			err = s.end()
		} else if errors.Is(err, ErrNoLab) {
			err = nil
		}
		if err = errors.Join(err, removeLab(dir)); err != nil {
			errs = append(errs, fmt.Errorf("removing lab %s: %w", e.Name(), err))
			continue
		}
		swept = append(swept, strings.TrimPrefix(e.Name(), unfinished))
	}
	return swept, errors.Join(errs...)
}

// abandoned says whether nobody is there who will remove the folder. One without a state may be about to get it.
func abandoned(dir string, entry fs.DirEntry) bool {
	s, err := readState(dir)
	if err == nil {
		return !s.Owner.Alive()
	}
	info, err := entry.Info()
	return err == nil && time.Since(info.ModTime()) > time.Minute
}

// Names are the labs of this machine, living or not.
func Names() ([]string, error) {
	entries, err := os.ReadDir(Base())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && namePattern.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// removeLab removes a lab's folder and log, and with the last one the folder of them all.
func removeLab(dir string) error {
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+".log")); err != nil {
		return fmt.Errorf("removing a lab's folder: %w", err)
	}
	_ = os.Remove(Base()) // not while there are others
	return nil
}

// newDir makes the folder of a lab, with a state file in it from the first moment: a lab that is killed is found again.
func newDir(name string, owner Process) (string, error) {
	var tmp string
	err := fs.ErrNotExist
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ { // whoever ends the last lab removes the base
		if err = os.MkdirAll(Base(), 0o700); err == nil {
			tmp, err = os.MkdirTemp(Base(), unfinished)
		}
	}
	if err != nil {
		return "", fmt.Errorf("making a lab's folder: %w", err)
	}
	l := &Lab{dir: tmp, owner: owner, options: Options{Name: name}}
	err = l.saveState()
	dir := filepath.Join(Base(), name)
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	switch {
	case err == nil:
		return dir, nil
	case errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY):
		err = fmt.Errorf("lab %s is up already: `warren-lab down --name %s` ends it", name, name)
	default:
		err = fmt.Errorf("making a lab's folder: %w", err)
	}
	return "", errors.Join(err, os.RemoveAll(tmp))
}
