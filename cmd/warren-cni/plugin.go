package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/cni"
)

// How long the agent may take. It answers an ADD in milliseconds, or else says at once why it cannot.
const (
	patience    = 30 * time.Second
	delPatience = 10 * time.Second
	// startPatience is how long a pod that comes waits for somebody to listen: an agent that is upgraded is away for 3 to 4 s, and after an ADD that
	// failed kubelet waits for 10 to 15 s.
	startPatience = 5 * time.Second
)

// plugin is one call.
type plugin struct{ out io.Writer }

// config is what of the network configuration the plugin itself reads.
type config struct {
	Socket string `json:"socket"`
	// Gate says that another plugin has given the pod its network: there is nothing of ours to check or to delete, and nobody waits for it.
	Gate bool `json:"gate"`
}

const defaultSocket = "/run/warren/agent.sock"

func parse(args *skel.CmdArgs) (cni.Request, config, error) {
	conf := config{Socket: defaultSocket}
	if err := json.Unmarshal(args.StdinData, &conf); err != nil {
		return cni.Request{}, conf, types.NewError(types.ErrDecodingFailure, "parsing the network configuration", err.Error())
	}
	if !filepath.IsAbs(conf.Socket) {
		return cni.Request{}, conf, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("socket %q: want an absolute path", conf.Socket), "")
	}
	return cni.Request{
		ContainerID: args.ContainerID, Interface: args.IfName, NetNS: args.Netns, Args: args.Args, Config: args.StdinData,
	}, conf, nil
}

// ask is for all but DEL: an agent that is away, for an ADD longer than it takes to start one, is an error that the runtime tries again after. A gate
// asks for ADD and STATUS alone.
func ask(args *skel.CmdArgs, command cni.Command, away uint) ([]byte, error) {
	r, conf, err := parse(args)
	if err != nil || conf.Gate && command != cni.Add && command != cni.Status {
		return nil, err
	}
	answer, err := cni.Ask(conf.Socket, command, r, patience)
	for deadline := time.Now().Add(startPatience); command == cni.Add && nobody(err) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond) // A file whose folder may come later: there is nothing to watch.
		answer, err = cni.Ask(conf.Socket, command, r, patience)
	}
	if errors.Is(err, cni.ErrAway) {
		return nil, types.NewError(away, "the agent is away", err.Error())
	}
	return answer, err
}

// nobody says of a call that nobody listens: it was not begun.
func nobody(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) }

func (p plugin) add(args *skel.CmdArgs) error {
	if err := checkNetNS(args.Netns); err != nil {
		return err
	}
	result, err := ask(args, cni.Add, types.ErrTryAgainLater)
	if err != nil {
		return err
	}
	if _, err := p.out.Write(result); err != nil {
		return types.NewError(types.ErrIOFailure, "writing the result", err.Error())
	}
	return nil
}

func (p plugin) check(args *skel.CmdArgs) error {
	if err := checkNetNS(args.Netns); err != nil {
		return err
	}
	_, err := ask(args, cni.Check, types.ErrTryAgainLater)
	return err
}

func (p plugin) gc(args *skel.CmdArgs) error {
	_, err := ask(args, cni.GC, types.ErrTryAgainLater)
	return err
}

func (p plugin) status(args *skel.CmdArgs) error {
	_, err := ask(args, cni.Status, types.ErrPluginNotAvailable)
	return err
}

// del always succeeds for a call that is sound: where the agent does not do it, the plugin takes the wire down and leaves the rest.
func (p plugin) del(args *skel.CmdArgs) error {
	r, conf, err := parse(args)
	if err != nil || conf.Gate {
		return err
	}
	if _, err = cni.Ask(conf.Socket, cni.Del, r, delPatience); err == nil {
		return nil
	}
	// What cannot be left the agent finds by itself, somewhat later: the pod is gone, and so is its wire.
	for _, err := range []error{err, cni.Unplug(r.NetNS, r.Interface), cni.Bury(cni.TombstoneDir(conf.Socket), r)} {
		if err != nil {
			fmt.Fprintln(os.Stderr, "warren-cni: deleting without the agent:", err)
		}
	}
	return nil
}

func checkNetNS(path string) error {
	if !cni.IsNetNS(path) {
		return types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("%q is not a network namespace", path), "")
	}
	return nil
}
