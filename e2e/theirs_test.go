package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// theirTables are what somebody else has in nftables: a firewall that forwards nothing that it does not know, and a translation.
const theirTables = `
table inet theirs {
	set friends {
		type ipv4_addr
		elements = { 192.0.2.1, 192.0.2.2 }
	}
	chain forward {
		type filter hook forward priority 10; policy drop;
		ct state established,related accept
		ip saddr @friends counter accept comment "ours, not yours"
	}
	chain input {
		type filter hook input priority 0; policy accept;
		tcp dport 23 reject
	}
}
table ip theirnat {
	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		ip saddr 192.0.2.0/24 oifname "eth0" masquerade
	}
}
`

// theirDevice is the link of somebody else's WireGuard.
const theirDevice = "wg9"

// addTheirs gives a node a firewall by nftables, one by iptables, and a WireGuard device, none of them Warren's.
func addTheirs(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	run(ctx, t, &n.Host, theirTables, "nft", "-f", "-")
	run(ctx, t, &n.Host, "", "iptables", "-P", "FORWARD", "DROP")
	run(ctx, t, &n.Host, "", "iptables", "-A", "FORWARD", "-s", "192.0.2.0/24", "-m", "comment", "--comment", "theirs", "-j", "ACCEPT")
	run(ctx, t, &n.Host, "", "ip6tables", "-P", "FORWARD", "DROP")
	run(ctx, t, &n.Host, "", "ip6tables", "-A", "FORWARD", "-p", "tcp", "--dport", "23", "-j", "REJECT")
	addTheirDevice(ctx, t, n)
}

// addTheirDevice runs a userspace WireGuard device as anybody's wireguard-go would: its folder is theirs, its link has no alias.
func addTheirDevice(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	run(ctx, t, &n.Host, "", "mkdir", "-m", "0755", "/var/run/wireguard")
	runDevice(ctx, t, n, theirDevice, 51999)
	run(ctx, t, &n.Host, "", "ip", "address", "add", theirAddress(n)+"/32", "dev", theirDevice)
	run(ctx, t, &n.Host, "", "ip", "link", "set", theirDevice, "up")
	eventually(ctx, t, 10*time.Second, func() error { // it is looked at for changes
		out, err := n.Run(ctx, "ip", "-6", "address", "show", "dev", theirDevice, "tentative")
		if err == nil && out != "" {
			err = fmt.Errorf("its address is not settled: %s", out)
		}
		return err
	})
}

// runDevice runs a userspace WireGuard device with a key of its own, and with no alias, and gives its process.
func runDevice(ctx context.Context, t *testing.T, n *lab.Node, link string, port int) *os.Process {
	t.Helper()
	process := n.Command(context.WithoutCancel(ctx), "warrend", "tunnel", "--interface", link) // ends with the lab
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error {
		_, err := n.Run(ctx, "wg", "show", link)
		return err
	})
	run(ctx, t, &n.Host, "", "ip", "link", "set", link, "alias", "")
	key := strings.TrimSpace(run(ctx, t, &n.Host, "", "wg", "genkey"))
	run(ctx, t, &n.Host, key, "wg", "set", link, "listen-port", strconv.Itoa(port), "private-key", "/dev/stdin")
	return process.Process
}

// theirAddress is a node's in the network of their devices.
func theirAddress(n *lab.Node) string { return "192.168.99." + strings.TrimPrefix(n.Name, "n") }

// joinTheirs makes two nodes' devices peers.
func joinTheirs(ctx context.Context, t *testing.T, a, b *lab.Node) {
	t.Helper()
	for _, way := range [][2]*lab.Node{{a, b}, {b, a}} {
		n, peer := &way[0].Host, way[1]
		key := strings.TrimSpace(run(ctx, t, &peer.Host, "", "wg", "show", theirDevice, "public-key"))
		run(ctx, t, n, "", "wg", "set", theirDevice, "peer", key, "allowed-ips", theirAddress(peer)+"/32",
			"endpoint", fmt.Sprintf("%s:51999", peer.Addresses[0]))
		run(ctx, t, n, "", "ip", "route", "add", theirAddress(peer)+"/32", "dev", theirDevice)
	}
}

// theirState is all that is theirs on a node, and in none of it what we may add: our accepts in firewalls that drop.
func theirState(ctx context.Context, t *testing.T, n *lab.Node) string {
	t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"nft --stateless list table inet theirs", "nft --stateless list table ip theirnat",
		"iptables -S", "ip6tables -S", "iptables -t nat -S",
		"wg show wg9 public-key", "wg show wg9 listen-port", "wg show wg9 peers", "wg show wg9 allowed-ips",
		"wg show wg9 endpoints", "wg show wg9 persistent-keepalive",
		"ip -details address show dev wg9", "ip route show dev wg9",
	} {
		words := strings.Fields(command)
		fmt.Fprintf(&b, "# %s\n", command)
		for line := range strings.Lines(run(ctx, t, &n.Host, "", words[0], words[1:]...)) {
			if !isOurAccept(line) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// isOurAccept knows our rules in others' chains as nft and as iptables list them.
func isOurAccept(line string) bool {
	link := strings.Contains(line, "warren0") || strings.Contains(line, "wrp*") || strings.Contains(line, "wrp+")
	return link && (strings.Contains(line, "accept") || strings.Contains(line, "ACCEPT"))
}
