package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// byHand is the link that is made without Warren, with the commands of any guide to WireGuard.
const byHand = "wg0"

// listenPort is WireGuard's own.
const listenPort = 51820

// connect makes a tunnel between two nodes: for their pod CIDRs, as Warren would, with the first address of each for the node.
func connect(ctx context.Context, a, b *lab.Node, like lane) error {
	keys := map[*lab.Node]string{}
	for _, n := range []*lab.Node{a, b} {
		key, err := makeDevice(ctx, n, like)
		if err != nil {
			return fmt.Errorf("configuring %s by hand: %w", n.Name, err)
		}
		keys[n] = key
	}
	for _, ends := range [][2]*lab.Node{{a, b}, {b, a}} {
		n, peer := ends[0], ends[1]
		cidr := peer.PodCIDRs[0].String()
		endpoint := netip.AddrPortFrom(peer.Addresses[0], listenPort).String()
		if err := each(ctx, n, [][]string{
			{"wg", "set", byHand, "peer", keys[peer], "allowed-ips", cidr, "endpoint", endpoint},
			{"ip", "route", "add", cidr, "dev", byHand},
		}); err != nil {
			return fmt.Errorf("configuring %s by hand: %w", n.Name, err)
		}
	}
	return nil
}

// makeDevice makes the link, of the same implementation and MTU as a lane, and returns its public key.
func makeDevice(ctx context.Context, n *lab.Node, like lane) (publicKey string, err error) {
	if like.kernel {
		_, err = n.Run(ctx, "ip", "link", "add", byHand, "type", "wireguard")
	} else {
		err = startUserspace(ctx, n)
	}
	if err != nil {
		return "", err
	}
	private, err := n.Run(ctx, "wg", "genkey")
	if err != nil {
		return "", err
	}
	set := n.Command(ctx, "wg", "set", byHand, "private-key", "/dev/stdin", "listen-port", strconv.Itoa(listenPort))
	set.Stdin = strings.NewReader(private)
	if _, err := set.Output(); err != nil {
		return "", err
	}
	err = each(ctx, n, [][]string{
		{"ip", "address", "add", n.MeshAddresses[0].String() + "/32", "dev", byHand},
		{"ip", "link", "set", byHand, "mtu", strconv.Itoa(like.mtu), "up"},
	})
	if err != nil {
		return "", err
	}
	key, err := n.Run(ctx, "wg", "show", byHand, "public-key")
	return strings.TrimSpace(key), err
}

// startPatience is how long the userspace device may take until it answers.
const startPatience = 10 * time.Second

// startUserspace starts the stand-alone program of the module that Warren's device is made of, which `make bench-throughput` builds, in
// a session of its own as any daemon is: the kernel's scheduler may share processors out by session. It ends with the lab.
func startUserspace(ctx context.Context, n *lab.Node) error {
	tunnel := n.Command(context.WithoutCancel(ctx), "wireguard-go", "--foreground", byHand)
	tunnel.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := tunnel.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		_, err := n.Run(ctx, "wg", "show", byHand)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for the userspace device: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// each runs commands on a node until one fails.
func each(ctx context.Context, n *lab.Node, commands [][]string) error {
	for _, c := range commands {
		if _, err := n.Run(ctx, c[0], c[1:]...); err != nil {
			return err
		}
	}
	return nil
}
