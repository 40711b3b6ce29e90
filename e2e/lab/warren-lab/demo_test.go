package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// programs are the lab's, as `make build` leaves them.
func programs(t *testing.T) string {
	t.Helper()
	bin, err := lab.Build(t.Context(), t.Output(), false)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestDemo is `make demo` without a terminal: it shows all that the README promises, takes the lab down and exits with 0.
func TestDemo(t *testing.T) {
	bin := programs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	name := fmt.Sprintf("demo-%d", os.Getpid())
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "warren-lab"), "demo", "--name", name).CombinedOutput()
	screen := string(out)
	t.Log(screen)
	if err != nil {
		t.Fatalf("the demo: %v", err)
	}
	for _, want := range []string{
		`(?m)^NAME +PUBLIC KEY +ENDPOINTS +POD CIDRS$`, `(?m)^n3 +\S{44} +172\.30\.0\.13:51820 +10\.244\.2\.0/24,fd00:10:244:2::/64$`,
		`(?m)^== n1# wg show$`, `(?m)^interface: warren0$`, `(?s)\npeer: .*\npeer: `, `latest handshake: `,
		`(?m)^== n1/p1# ping -c 3 10\.244\.1\.2 `, `(?m)^== n1/p1# ping -c 3 fd00:10:244:1::2 `, `(?s) 0% packet loss.* 0% packet loss`,
		`(?m)^== n1/p1# iperf3 -c 10\.244\.1\.2 `, `(?m)Mbits/sec.*receiver$`,
		`(?m)^ +[1-9]\d* packets of WireGuard$`, `(?m)^ +0 with a pod's address in clear$`,
		`(?m)^== everything above was as it should be$`,
	} {
		if !regexp.MustCompile(want).MatchString(screen) {
			t.Errorf("the screen lacks %s", want)
		}
	}
	if strings.Contains(screen, "\033") || strings.Contains(screen, "Ctrl-C") {
		t.Error("the screen is a terminal's")
	}
	if _, err := lab.LoadState(name); err == nil {
		t.Error("the lab is left")
	}
}

// TestDemoTellsTheTruth: where the mesh is not as it should be, each part of the demo that shows it is an error.
func TestDemoTellsTheTruth(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	d := &demo{screen: screen{out: t.Output()}, name: fmt.Sprintf("lies-%d", os.Getpid()), bin: programs(t)}
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := d.start(ctx); err != nil {
		t.Fatal(err)
	}
	n1, to := d.lab.Node("n1"), d.lab.Node("n2").Pod("p1")
	for _, show := range []func(context.Context) error{d.nodes, d.ping, d.wg, d.wire} {
		if err := show(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range d.lab.Nodes() {
		if err := n.StopAgent(ctx); err != nil { // or it would put things right
			t.Fatal(err)
		}
	}
	kubeconfig, address := d.lab.Cluster().AdminKubeconfig(), to.Addresses[0].String()
	for _, lie := range []struct {
		name string
		host *lab.Host
		do   []string
		show func(context.Context) error
		want string
	}{
		{
			"one ping is lost", &to.Host,
			[]string{"nft", "table ip lies { chain in { type filter hook input priority 0; icmp sequence 2 drop; }; }"}, d.ping, "were lost",
		},
		{
			"a Node has not published", d.lab.Switch(),
			[]string{"kubectl", "--kubeconfig", kubeconfig, "annotate", "node", "n3", "warren.dev/public-key-"}, d.nodes, "has not published",
		},
		{
			"a peer is missing", &n1.Host,
			[]string{"sh", "-c", "wg set warren0 peer $(wg show warren0 peers | head -n 1) remove"}, d.wg, "has 1 peers, want 2",
		},
		{
			"something is in clear", &n1.Host,
			[]string{"sh", "-c", "nft delete table inet warren-mesh; ip route replace " + address + " via 172.30.0.1; ping -c 1 -W 1 " + address + "; true"},
			d.wire, "frames in clear",
		},
	} {
		t.Run(lie.name, func(t *testing.T) {
			if _, err := lie.host.Run(ctx, lie.do[0], lie.do[1:]...); err != nil {
				t.Fatal(err)
			}
			if err := lie.show(ctx); err == nil || !strings.Contains(err.Error(), lie.want) {
				t.Errorf("the demo says %v, want an error that says %q", err, lie.want)
			}
		})
	}
}
