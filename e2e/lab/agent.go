package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// MetricsAddress is where every agent serves its metrics, on its own node.
const MetricsAddress = "127.0.0.1:9586"

// agentProcess is a running warrend.
type agentProcess struct {
	cmd  *Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, after done
}

// StartAgent starts the node's warrend with the lab's flags and, after them, args. Its log goes to [Node.AgentLog]. It does
// not wait until the agent is ready. While the API server is stopped the agent has the credential of its last start.
func (n *Node) StartAgent(ctx context.Context, args ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent.running() {
		return fmt.Errorf("starting the agent of %s: it runs", n.Name)
	}
	if n.kubeconfig == "" || n.lab.Cluster().APIServerRunning() {
		kubeconfig, err := n.lab.Cluster().AgentKubeconfig(ctx, n.Name)
		if err != nil {
			return fmt.Errorf("starting the agent of %s: %w", n.Name, err)
		}
		n.kubeconfig = kubeconfig
	}
	log, err := os.OpenFile(n.AgentLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting the agent of %s: %w", n.Name, err)
	}
	defer log.Close()
	// Not bound to ctx: it runs until it is stopped.
	cmd := n.Command(context.WithoutCancel(ctx), cmp.Or(n.program, "warrend"), n.agentArgs(n.kubeconfig, args)...)
	if n.lab.options.NoPolicy { // by the environment: an agent of before there was such a flag does not mind
		cmd.Env = append(cmd.Env, "WARREN_POLICY=false")
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for who started us
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the agent of %s: %w", n.Name, err)
	}
	agent := &agentProcess{cmd: cmd, done: make(chan struct{})}
	go func() {
		agent.err = cmd.Wait()
		close(agent.done)
	}()
	n.agent = agent
	return nil
}

// UseAgent makes the next agents of the node another program: the path of a warrend, or "" for the lab's own.
func (n *Node) UseAgent(program string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.program = program
}

func (n *Node) agentArgs(kubeconfig string, more []string) []string {
	o := n.lab.options
	args := []string{"--node-name", n.Name, "--kubeconfig", kubeconfig, "--metrics-bind-address", MetricsAddress}
	if !slices.Contains(o.AgentArgs, "--mode=policy") { // to which these are no flags
		args = append(args, "--cluster-cidr", joinWith(o.PodCIDRs, ","), "--service-cidr", joinWith(o.ServiceCIDRs, ","),
			"--wireguard", o.WireGuard, "--listen-port", strconv.Itoa(int(o.ListenPort)))
	}
	return append(append(args, o.AgentArgs...), more...)
}

// AgentLog is the file with what the node's agents wrote.
func (n *Node) AgentLog() string { return filepath.Join(n.dir, "warrend.log") }

// AgentRunning says whether the agent runs.
func (n *Node) AgentRunning() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agent.running()
}

func (a *agentProcess) running() bool {
	if a == nil {
		return false
	}
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

// StopAgent ends the agent with SIGTERM and waits until it has ended. An exit status other than 0 is an error. None running
// is none.
func (n *Node) StopAgent(ctx context.Context) error {
	agent, err := n.signalAgent(unix.SIGTERM)
	if agent == nil || err != nil {
		return err
	}
	select {
	case <-agent.done:
	case <-ctx.Done():
		return fmt.Errorf("stopping the agent of %s: %w%s", n.Name, context.Cause(ctx), n.logTail())
	}
	if agent.err != nil {
		return fmt.Errorf("stopping the agent of %s: %w%s", n.Name, agent.err, n.logTail())
	}
	return nil
}

// KillAgent ends the agent with SIGKILL and waits until it has ended. None running is no error.
func (n *Node) KillAgent() error {
	agent, err := n.signalAgent(unix.SIGKILL)
	if agent == nil || err != nil {
		return err
	}
	<-agent.done
	return nil
}

func (n *Node) signalAgent(s syscall.Signal) (*agentProcess, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.agent.running() {
		return nil, nil
	}
	if err := n.agent.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("signalling the agent of %s: %w", n.Name, err)
	}
	return n.agent, nil
}

// readyPatience is how long WaitReady waits where the context ends no earlier.
const readyPatience = time.Minute

// WaitReady waits until the agent's /readyz says so. It fails at once when the agent ends, with the end of its log.
func (n *Node) WaitReady(ctx context.Context) error {
	n.mu.Lock()
	agent := n.agent
	n.mu.Unlock()
	if agent == nil {
		return fmt.Errorf("waiting for the agent of %s: it was not started", n.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(readyPatience))
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := n.probe(ctx, "/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-agent.done:
			return fmt.Errorf("waiting for the agent of %s: it ended: %w%s", n.Name, agent.err, n.logTail())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the agent of %s: %w%s", n.Name, err, n.logTail())
		case <-tick.C:
		}
	}
}

// probe asks the agent over HTTP. A status other than 200 is an error.
func (n *Node) probe(ctx context.Context, path string) error {
	transport := &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+MetricsAddress+path, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return nil
}

// tailSize is how much of a log an error shows, in bytes.
const tailSize = 4096

// logTail is the end of the agent's log, on lines of its own.
func (n *Node) logTail() string {
	content, err := os.ReadFile(n.AgentLog())
	if err != nil || len(content) == 0 {
		return "\n(its log is empty)"
	}
	if len(content) > tailSize {
		content = content[len(content)-tailSize:]
		content = content[bytes.IndexByte(content, '\n')+1:]
	}
	return fmt.Sprintf("\n--- %s: the end of warrend's log\n%s", n.Name, bytes.TrimSpace(content))
}

func join[T interface{ String() string }](items []T) string { return joinWith(items, ", ") }

func joinWith[T interface{ String() string }](items []T, separator string) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = item.String()
	}
	return strings.Join(parts, separator)
}
