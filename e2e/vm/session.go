package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/vm/outside"
)

// session is one control plane outside: a lab that has nothing but its switch, whose addresses are those inside.
type session struct {
	lab *lab.Lab
	// dir has the files.
	dir string
	// turns has a lock for each program: one that was killed goes before the next one starts.
	turns map[string]*sync.Mutex
	// states is how many states of etcd's store there were. Only etcd's turn uses it.
	states int

	mu    sync.Mutex // guards count
	count int        // of programs that run
}

// session is the one of a folder in the machine. Where there is none yet, those go in which nothing runs any more.
func (o *outsider) session(ctx context.Context, dir string) (*session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s, ok := o.sessions[dir]; ok {
		return s, nil
	}
	for old, s := range maps.Clone(o.sessions) {
		if !s.idle() {
			continue
		}
		delete(o.sessions, old)
		if err := s.lab.Close(); err != nil {
			return nil, err
		}
	}
	o.made++
	l, err := lab.Start(ctx, lab.Options{
		Name: fmt.Sprintf("outside-%d-%d", os.Getpid(), o.made), NoControlPlane: true, Bin: o.bin,
		PodFamilies: lab.Dual, UnderlayFamilies: lab.Dual,
	})
	if err != nil {
		return nil, err
	}
	s := &session{lab: l, dir: filepath.Join(l.Dir(), "cluster"), turns: map[string]*sync.Mutex{}}
	for name := range outside.Ports {
		s.turns[name] = &sync.Mutex{}
	}
	o.sessions[dir] = s
	return s, nil
}

func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count == 0
}

func (s *session) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count += n
}

// run runs a program until it ends or ctx does.
func (s *session) run(ctx context.Context, programs string, request outside.Request, out output) (int, error) {
	turn, ok := s.turns[request.Run.Name]
	if !ok {
		return 0, fmt.Errorf("%q is no program of the control plane", request.Run.Name)
	}
	s.add(1)
	defer s.add(-1)
	turn.Lock()
	defer turn.Unlock()
	if err := s.write(request.Run.Files); err != nil {
		return 0, err
	}
	if request.Run.Name == "etcd" {
		end, err := s.openStore(request.Run.Store, out.events)
		if err != nil {
			return 0, err
		}
		defer end()
	}
	var args []string
	for _, arg := range request.Run.Args {
		args = append(args, strings.ReplaceAll(arg, request.Dir, s.dir))
	}
	c := s.lab.Switch().Command(ctx, filepath.Join(programs, request.Run.Name), args...)
	c.Dir, c.Stdout, c.Stderr = s.dir, out, out
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return 0, err
	}
	return c.ProcessState.ExitCode(), nil
}

// write puts files below the session's folder.
func (s *session) write(files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%q is not below a folder", name)
		}
		file := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, files[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}
