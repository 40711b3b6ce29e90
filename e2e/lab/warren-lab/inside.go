package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/warren-mesh/warren/e2e/lab"
)

// errCommand says that what was run inside failed: its exit status is ours, and it has said why itself.
var errCommand = errors.New("the command failed")

// place is where a command is to run.
type place struct {
	name, node, pod string
	onSwitch        bool
}

func (p *place) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&p.name, "name", lab.DefaultName, "name of the lab")
	fs.StringVar(&p.node, "node", "", "on this node: n1")
	fs.StringVar(&p.pod, "pod", "", "in this pod: n1/p1")
	fs.BoolVar(&p.onSwitch, "switch", false, "on the switch, where the control plane is")
}

// host is the place as the lab names it.
func (p *place) host() (string, error) {
	var chosen []string
	for _, name := range []string{p.node, p.pod} {
		if name != "" {
			chosen = append(chosen, name)
		}
	}
	if p.onSwitch {
		chosen = append(chosen, "switch")
	}
	if len(chosen) != 1 {
		return "", errors.New("where? one of --node n1, --pod n1/p1 and --switch is needed")
	}
	return chosen[0], nil
}

func newShell() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:     "shell",
		Short:   "Open a shell on a node or in a pod",
		Example: "  warren-lab shell --node n1\n  warren-lab shell --pod n1/p1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := p.host()
			if err != nil {
				return err
			}
			prompt := fmt.Sprintf(`PS1=[%s] \w # `, strings.ReplaceAll(host, `\`, ""))
			return p.run(cmd.Context(), host, []string{prompt}, shell())
		},
	}
	p.addFlags(cmd.Flags())
	return cmd
}

// shell reads no start-up files: they would set another prompt.
func shell() []string {
	if _, err := exec.LookPath("bash"); err == nil {
		return []string{"bash", "--norc", "--noprofile", "-i"}
	}
	return []string{"sh", "-i"}
}

func newExec() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:     "exec -- COMMAND",
		Short:   "Run a command on a node or in a pod",
		Example: "  warren-lab exec --node n1 -- wg show\n  warren-lab exec --pod n1/p1 -- ping -c 3 10.244.1.2",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			host, err := p.host()
			if err != nil {
				return err
			}
			return p.run(cmd.Context(), host, nil, args)
		},
	}
	p.addFlags(cmd.Flags())
	cmd.Flags().SetInterspersed(false) // what follows the command is the command's
	return cmd
}

func (p *place) run(ctx context.Context, name string, env, args []string) error {
	s, err := lab.LoadState(p.name)
	if err != nil {
		return fmt.Errorf("%w; `warren-lab up` starts one", err)
	}
	host, err := s.Open(name)
	if err != nil {
		return err
	}
	defer host.Close()
	// Ctrl-C is for the command, which is in the same terminal.
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	if args[0] == "kubectl" && isFile(s.Kubectl) {
		args[0] = s.Kubectl
	}
	cmd := host.Command(context.WithoutCancel(ctx), args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(cmd.Env, env...)
	if s.Kubeconfig != "" && p.pod == "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+s.Kubeconfig, "PATH="+s.Bin+":"+os.Getenv("PATH")+":"+filepath.Dir(s.Kubectl))
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return errors.Join(errCommand, err)
	}
	return err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
