package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// newPods makes network namespaces, and gives their names.
func (s *scene) newPods(ctx context.Context, count int) ([]string, error) {
	names := make([]string, count)
	for i := range names {
		s.made++
		names[i] = fmt.Sprintf("bench%d", s.made)
		if _, err := s.node.Run(ctx, "ip", "netns", "add", names[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (s *scene) dropPods(ctx context.Context, names []string) error {
	for _, name := range names {
		if _, err := s.node.Run(ctx, "ip", "netns", "delete", name); err != nil {
			return err
		}
	}
	return nil
}

// call runs cnitool for a pod, and says how long that took, in milliseconds.
func (s *scene) call(ctx context.Context, who subject, command, pod string) (float64, error) {
	cmd := s.node.Command(ctx, s.tools+"/cnitool", command, who.network, "/run/netns/"+pod)
	cmd.Env = append(cmd.Env, "NETCONFPATH="+who.confDir, "CNI_PATH="+s.node.CNIBinDir()+":"+s.tools)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("%s: cnitool %s: %w: %s", who.name, command, err, out)
	}
	return float64(took) / float64(time.Millisecond), nil
}

// callAll runs it for all pods at once, and says how long each took.
func (s *scene) callAll(ctx context.Context, who subject, command string, pods []string) ([]float64, error) {
	took := make([]float64, len(pods))
	group, ctx := errgroup.WithContext(ctx)
	for i, pod := range pods {
		group.Go(func() (err error) {
			took[i], err = s.call(ctx, who, command, pod)
			return err
		})
	}
	return took, group.Wait()
}
