package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/warren-mesh/warren/e2e/vm/job"
	"github.com/warren-mesh/warren/e2e/vm/outside"
)

// node is a machine that is a node of a cluster, and does what it is told.
type node struct {
	name string

	mu       sync.Mutex // one command at a time
	commands *json.Encoder
	answers  *json.Decoder
}

// meet hands a machine that has come up to who waits for it, and returns when all is over.
func (o *outsider) meet(ctx context.Context, name string, from *bufio.Reader, to io.Writer) {
	select {
	case o.nodes <- &node{name: name, commands: json.NewEncoder(to), answers: json.NewDecoder(from)}:
	case <-ctx.Done():
	}
	<-ctx.Done()
}

// run runs a shell command in the machine. The error has what it said.
func (n *node) run(format string, args ...any) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	var answer outside.Answer
	err := n.commands.Encode(outside.Command{Line: line})
	if err == nil {
		err = n.answers.Decode(&answer)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %s: %w", n.name, line, err)
	case answer.Code != 0:
		return answer.Output, fmt.Errorf("%s: %s: exit status %d: %s", n.name, line, answer.Code, strings.TrimSpace(answer.Output))
	}
	return answer.Output, nil
}

// agentLog is the file with what the machine's agents wrote.
const agentLog = "/run/agent.log"

// startAgent starts the agent and waits until it is ready.
func (n *node) startAgent(podCIDR, serviceCIDR string) error {
	_, err := n.run("warrend --node-name %s --kubeconfig %s --cluster-cidr %s --service-cidr %s >> %s 2>&1 & echo $! > /run/agent",
		n.name, job.KubeconfigFile, podCIDR, serviceCIDR, agentLog)
	if err != nil {
		return err
	}
	_, err = n.run("for i in $(seq 600); do warren status 2> /dev/null | grep -q 'ready: yes' && exit; sleep 0.2; done; warren status; exit 1")
	return err
}

// stopAgent ends the agent and waits until it has ended: nobody reaps it, and what is left of it has no command line.
func (n *node) stopAgent() error {
	_, err := n.run("kill $(cat /run/agent) && while grep -qs . /proc/$(cat /run/agent)/cmdline; do sleep 0.1; done")
	return err
}

// stepBackAlone sets the clock back and deletes the device, at once: the next session has to begin with this clock.
func (n *node) stepBackAlone(by time.Duration) error {
	_, err := n.run("date -s @%d && ip link delete warren0", time.Now().Add(-by).Unix())
	return err
}

// deleteDevice deletes WireGuard's device and with it every session. The agent makes another.
func (n *node) deleteDevice() error {
	_, err := n.run("ip link delete warren0")
	return err
}

// setClock sets the clock.
func (n *node) setClock(now time.Time) error {
	_, err := n.run("date -s @%d", now.Unix())
	return err
}

// awaitPing pings from the machine's pod until there is an answer, and is how long that took.
func (n *node) awaitPing(to netip.Addr, limit time.Duration) (took time.Duration, err error) {
	for start := time.Now(); ; {
		_, err = n.run("nsenter --net=%s ping -q -c 1 -W 1 %s", job.PodNetNS, to)
		if took = time.Since(start).Round(time.Millisecond); err == nil || took > limit {
			return took, err
		}
	}
}

// handshakes are when the last one was with each peer, by the machine's clock.
func (n *node) handshakes() (string, error) { return n.run("wg show warren0 latest-handshakes") }

// log is what explains a failure.
func (n *node) log() string {
	text, err := n.run("tail -n 30 %s; wg show; ip -brief address; ip neighbour; ip route; date", agentLog)
	if err != nil {
		text += err.Error()
	}
	return fmt.Sprintf("--- %s\n%s\n", n.name, text)
}
