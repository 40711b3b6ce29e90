package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
			d := &demo{name: name, bin: filepath.Dir(self), out: cmd.OutOrStdout(), bold: terminal}
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
	name    string // of the lab
	bin     string // the folder with the programs
	out     io.Writer
	bold    bool // out is a terminal
	lab     *lab.Lab
	capture *lab.Capture
}

func (d *demo) close() error {
	if d.lab == nil {
		return nil
	}
	return d.lab.Close()
}

// say begins a part of the screen.
func (d *demo) say(format string, args ...any) {
	text := "== " + fmt.Sprintf(format, args...)
	if d.bold {
		text = "\033[1m" + text + "\033[0m"
	}
	fmt.Fprintf(d.out, "\n%s\n", text)
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

// wg shows one node's device.
func (d *demo) wg(ctx context.Context) error {
	d.say("n1# wg show")
	text, err := d.lab.Node("n1").Run(ctx, "wg", "show")
	if err != nil {
		return err
	}
	fmt.Fprint(d.out, text)
	if got := strings.Count(text, "peer: "); got != 2 {
		return fmt.Errorf("n1 has %d peers, want 2", got)
	}
	return nil
}

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

// wire shows what was on the underlay all the while.
func (d *demo) wire(ctx context.Context) error {
	d.say("the underlay meanwhile, from before the first packet")
	leaks, err := d.capture.Leaks(ctx)
	if err != nil {
		return err
	}
	shown := 0
	for _, frame := range d.capture.Frames() {
		if frame.WireGuard != 0 && shown < 12 {
			fmt.Fprintln(d.out, frame)
			shown++
		}
	}
	fmt.Fprintf(d.out, "...\n%8d packets of WireGuard\n%8d of the agents' TLS to the API server, ARP and neighbour discovery\n%8d with a pod's address in clear\n",
		d.capture.WireGuardPackets(), d.capture.OtherPackets(), len(leaks))
	fmt.Fprintln(d.out, "(Frames with pods' addresses in clear were sent from each node before, and the capture saw every one.)")
	for _, leak := range leaks {
		fmt.Fprintln(d.out, "IN CLEAR:", leak)
	}
	if len(leaks) > 0 || d.capture.WireGuardPackets() == 0 {
		return fmt.Errorf("%d frames in clear and %d of WireGuard, want none and some", len(leaks), d.capture.WireGuardPackets())
	}
	return nil
}
