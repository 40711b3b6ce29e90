package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/warren-mesh/warren/e2e/lab"
)

func newDemo() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a mesh of three nodes at work; on a terminal it stays up until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding the programs: %w", err)
			}
			terminal := term.IsTerminal(int(os.Stdout.Fd()))
			d := &demo{screen: screen{cmd.OutOrStdout(), terminal}, name: name, bin: filepath.Dir(self)}
			return d.run(cmd.Context(), terminal)
		},
	}
	cmd.Flags().StringVar(&name, "name", lab.DefaultName, "name of the lab")
	return cmd
}

// run succeeds only if everything that it shows is right.
func (d *demo) run(ctx context.Context, stay bool) (err error) {
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	for _, show := range []func(context.Context) error{d.nodes, d.ping, d.wg, d.iperf, d.wire} {
		if err := show(ctx); err != nil {
			return err
		}
	}
	if !stay {
		d.say("everything above was as it should be")
		return nil
	}
	fmt.Fprint(d.out, tryThis)
	<-ctx.Done()
	return nil
}

// tryThis is what a person may do with the lab while the demo stays.
const tryThis = `
The lab stays up until Ctrl-C. In another terminal, try:

  bin/warren-lab shell --node n1            a shell on a node: wg show, ip route, nft list ruleset, warren status
  bin/warren-lab shell --pod n1/p1          a shell in a pod
  bin/warren-lab exec --node n1 -- warren plan
  bin/warren-lab exec --node n1 -- ip link delete warren0     it is made again at once
  bin/warren-lab exec --switch -- tcpdump -ni underlay        the wire
  bin/warren-lab exec --switch -- kubectl get nodekeys
`

// demo is a lab that is being shown.
type demo struct {
	screen
	name    string // of the lab
	bin     string // the folder with the programs
	lab     *lab.Lab
	capture *lab.Capture
}

func (d *demo) close() error {
	if d.lab == nil {
		return nil
	}
	return d.lab.Close()
}

// start brings up the lab, with the capture on and proven before the first agent runs.
func (d *demo) start(ctx context.Context) (err error) {
	d.say("three nodes on this machine, and a real API server")
	d.lab, err = lab.Start(ctx, lab.Options{
		Name: d.name, Nodes: 3, PodFamilies: lab.Dual, UnderlayFamilies: lab.IPv4, NoAgents: true, Bin: d.bin, Out: d.out,
	})
	if err != nil {
		return err
	}
	if d.capture, err = d.lab.Capture(ctx); err != nil {
		return err
	}
	for _, n := range d.lab.Nodes() {
		if err := d.capture.Control(ctx, n); err != nil {
			return err
		}
	}
	if err := d.lab.StartAgents(ctx); err != nil {
		return err
	}
	for _, n := range d.lab.Nodes() {
		if _, err := n.AddPod(ctx, "p1"); err != nil {
			return err
		}
	}
	return nil
}

// nodes shows the annotations that make the mesh.
func (d *demo) nodes(ctx context.Context) error {
	d.say("the Nodes: all that the mesh is made from")
	columns := strings.Join([]string{
		"NAME:.metadata.name", `PUBLIC KEY:.metadata.annotations.warren\.dev/public-key`,
		`ENDPOINTS:.metadata.annotations.warren\.dev/endpoints`, `POD CIDRS:.metadata.annotations.warren\.dev/pod-cidrs`,
	}, ",")
	text, err := d.lab.Switch().Run(ctx, "kubectl", "--kubeconfig", d.lab.Cluster().AdminKubeconfig(), "get", "nodes", "-o", "custom-columns="+columns)
	if err != nil {
		return err
	}
	fmt.Fprint(d.out, text)
	if strings.Contains(text, "<none>") {
		return errors.New("a node has not published")
	}
	return nil
}

func (d *demo) wg(ctx context.Context) error { return d.peers(ctx, d.lab.Node("n1")) }

// pods are the two between which the demo sends.
func (d *demo) pods() (from, to *lab.Pod) {
	return d.lab.Node("n1").Pod("p1"), d.lab.Node("n2").Pod("p1")
}

func (d *demo) ping(ctx context.Context) error {
	from, to := d.pods()
	for _, addr := range to.Addresses {
		d.say("n1/p1# ping -c 3 %s    (a pod on n2)", addr)
		text, err := from.Run(ctx, "ping", "-c", "3", "-i", "0.2", "-W", "2", addr.String())
		fmt.Fprint(d.out, text)
		if err == nil && !strings.Contains(text, " 0% packet loss") { // ping is content with one answer of three
			err = fmt.Errorf("pings to %s were lost", addr)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// iperf bounds both ends: iperf3 has been seen to wait for ever.
func (d *demo) iperf(ctx context.Context) error {
	from, to := d.pods()
	d.say("n1/p1# iperf3 -c %s    (to the pod on n2)", to.Addresses[0])
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	server := to.Command(ctx, "iperf3", "-s", "-1", "-p", "5201")
	if err := server.Start(); err != nil {
		return fmt.Errorf("starting iperf3: %w", err)
	}
	var text string
	for {
		var err error
		text, err = from.Run(ctx, "iperf3", "-c", to.Addresses[0].String(), "-t", "3", "-i", "1", "-f", "m")
		if err == nil {
			break
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "refused") && !strings.Contains(text, "refused") {
			return errors.Join(err, errors.New(text))
		}
		time.Sleep(50 * time.Millisecond) // The server has not opened its port yet.
	}
	fmt.Fprint(d.out, text)
	return server.Wait()
}

func (d *demo) wire(ctx context.Context) error { return d.underlay(ctx, d.capture) }
