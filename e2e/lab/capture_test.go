package lab

import (
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/e2e/lab/wire"
)

func capture(t *testing.T, l *Lab) *Capture {
	t.Helper()
	c, err := l.Capture(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCaptureIsProvenFirst(t *testing.T) {
	l := New(t, bare(2, IPv4))
	c := capture(t, l)
	if _, err := c.Leaks(t.Context()); err == nil {
		t.Error("a capture without a control is trusted")
	}
	if err := c.Control(t.Context(), l.Node("n1")); err != nil {
		t.Fatal(err)
	}
	leaks, err := c.Leaks(t.Context())
	if err != nil || len(leaks) != 0 {
		t.Errorf("after a control: %v %v, want nothing", leaks, err)
	}
	if err := l.Cut(l.Node("n2")); err != nil {
		t.Fatal(err)
	}
	if err := c.Control(t.Context(), l.Node("n2")); err == nil {
		t.Error("a control passes though its node is cut off")
	}
}

func TestLeaksAreFound(t *testing.T) {
	for _, families := range []Families{IPv4, IPv6} {
		t.Run("underlay "+string(families), func(t *testing.T) {
			l := New(t, bare(2, families))
			n1 := l.Node("n1")
			c := capture(t, l)
			if err := c.Control(t.Context(), n1); err != nil {
				t.Fatal(err)
			}
			if err := n1.Ping(t.Context(), l.Node("n2").Addresses[0], PingOptions{}); err != nil {
				t.Error(err)
			}
			leaks, err := c.Leaks(t.Context())
			if err != nil || len(leaks) != 0 {
				t.Errorf("plain traffic of the nodes: %v %v, want no leak", leaks, err)
			}
			p := addPod(t, n1, "p1")
			for i, prefix := range l.Node("n2").PodCIDRs {
				to := nth(prefix, 2)
				if err := p.Ping(t.Context(), to, PingOptions{Timeout: 50 * time.Millisecond}); err == nil {
					t.Errorf("%s answers", to)
				}
				leaks, err := c.Leaks(t.Context())
				if err != nil {
					t.Error(err)
				}
				last := ""
				for _, leak := range leaks {
					if strings.Contains(leak.String(), p.Addresses[i].String()+" in IPv") && leak.From == "n1" {
						last = leak.String()
					}
				}
				if last == "" {
					t.Errorf("the ping from %s to %s is not among the leaks: %v", p.Addresses[i], to, leaks)
				}
				t.Log(last)
			}
		})
	}
}

func TestWireGuardIsNoLeak(t *testing.T) {
	l := New(t, bare(2, IPv4))
	c := capture(t, l)
	if err := c.Control(t.Context(), l.Node("n2")); err != nil {
		t.Fatal(err)
	}
	tunnel(t, l)
	n1, n2 := l.Node("n1"), l.Node("n2")
	for i, addr := range n2.MeshAddresses {
		for _, size := range []int{56, 1300, 3000} {
			if err := n1.Ping(t.Context(), addr, PingOptions{Size: size, Count: 3, Timeout: 5 * time.Second}); err != nil {
				t.Error(err)
			}
		}
		if err := n1.Reach(t.Context(), addr, "tcp", 1<<20); err != nil {
			t.Error(err)
		}
		if got := c.WireGuardPackets(wire.Data); got < 100*(i+1) {
			t.Errorf("%d data messages for more than a megabyte", got)
		}
	}
	c.AssertClean(t)
	if c.WireGuardPackets(wire.Initiation) == 0 || c.WireGuardPackets(wire.Response) == 0 {
		t.Error("no handshake was seen")
	}
	for _, f := range c.Frames() {
		if len(f.Data) > 1514 {
			t.Errorf("a frame of %d bytes is on a wire of MTU 1500: %s", len(f.Data), f)
			break
		}
	}
	readBack(t, c)
}

// readBack reads the capture with tcpdump.
func readBack(t *testing.T, c *Capture) {
	t.Helper()
	if err := c.Close(); err != nil { // so that nothing is added meanwhile
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "underlay.pcap")
	if err := c.WritePcap(path); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Logf("the capture is not read back, for want of tcpdump: %v", err)
		return
	}
	out, err := exec.CommandContext(t.Context(), "tcpdump", "-n", "-r", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	frames := c.Frames()
	if got := strings.Count(string(out), "\n"); got != len(frames) {
		t.Errorf("tcpdump reads %d frames, the capture has %d", got, len(frames))
	}
	first, _, _ := strings.Cut(string(out), "\n")
	t.Logf("tcpdump: %s", first)
	t.Logf("lab:     %s", frames[0])
}

// tunnel joins n1 and n2 by WireGuard between their mesh addresses, made by hand.
func tunnel(t *testing.T, l *Lab) {
	t.Helper()
	nodes := l.Nodes()
	keys := make([]wgtypes.Key, len(nodes))
	for i := range keys {
		var err error
		if keys[i], err = wgtypes.GeneratePrivateKey(); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		peer := nodes[1-i]
		public := keys[1-i].PublicKey()
		config := fmt.Sprintf("private_key=%s\nlisten_port=51820\npublic_key=%s\nendpoint=%s:51820\n",
			hex.EncodeToString(keys[i][:]), hex.EncodeToString(public[:]), peer.Addresses[0])
		commands := []string{"ip link set wg0 up"}
		for _, prefix := range peer.PodCIDRs {
			config += fmt.Sprintf("allowed_ip=%s\n", prefix)
		}
		for k, mesh := range n.MeshAddresses {
			commands = append(commands, fmt.Sprintf("ip address add %s/%d dev wg0 %s", mesh, mesh.BitLen(), map[bool]string{true: "", false: "nodad"}[mesh.Is4()]),
				fmt.Sprintf("ip route add %s dev wg0 src %s", peer.PodCIDRs[k], mesh))
		}
		var link tun.Device
		if err := n.Do(func() (err error) { link, err = tun.CreateTUN("wg0", 1420); return err }); err != nil {
			t.Fatal(err)
		}
		d := device.NewDevice(link, &bindIn{Bind: conn.NewDefaultBind(), host: &n.Host}, device.NewLogger(device.LogLevelSilent, ""))
		t.Cleanup(d.Close)
		if err := d.IpcSet(config); err != nil {
			t.Fatal(err)
		}
		if err := d.Up(); err != nil {
			t.Fatal(err)
		}
		shell(t, n, strings.Join(commands, " && "))
	}
}

// bindIn opens the tunnel's socket in a host.
type bindIn struct {
	conn.Bind
	host *Host
}

func (b *bindIn) Open(port uint16) (receive []conn.ReceiveFunc, actual uint16, err error) {
	err = b.host.Do(func() error {
		receive, actual, err = b.Bind.Open(port)
		return err
	})
	return receive, actual, err
}
