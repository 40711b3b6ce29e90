package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/warren-mesh/warren/e2e/lab"
)

// screen is where a demo shows things.
type screen struct {
	out  io.Writer
	bold bool // out is a terminal
}

// say begins a part of the screen.
func (s screen) say(format string, args ...any) {
	text := "== " + fmt.Sprintf(format, args...)
	if s.bold {
		text = "\033[1m" + text + "\033[0m"
	}
	fmt.Fprintf(s.out, "\n%s\n", text)
}

// peers shows the device of a node, which has two others for peers.
func (s screen) peers(ctx context.Context, n *lab.Node) error {
	s.say("%s# wg show", n.Name)
	text, err := n.Run(ctx, "wg", "show")
	if err != nil {
		return err
	}
	fmt.Fprint(s.out, text)
	if got := strings.Count(text, "peer: "); got != 2 {
		return fmt.Errorf("%s has %d peers, want 2", n.Name, got)
	}
	return nil
}

// underlay shows what was on the underlay all the while, and is an error where that was not WireGuard.
func (s screen) underlay(ctx context.Context, capture *lab.Capture) error {
	s.say("the underlay meanwhile, from before the first packet")
	leaks, err := capture.Leaks(ctx)
	if err != nil {
		return err
	}
	shown := 0
	for _, frame := range capture.Frames() {
		if frame.WireGuard != 0 && shown < 12 {
			fmt.Fprintln(s.out, frame)
			shown++
		}
	}
	fmt.Fprintf(s.out, "...\n%8d packets of WireGuard\n%8d of TLS to the API server, ARP and neighbour discovery\n%8d with a pod's address in clear\n",
		capture.WireGuardPackets(), capture.OtherPackets(), len(leaks))
	fmt.Fprintln(s.out, "(Frames with pods' addresses in clear were sent from each node before, and the capture saw every one.)")
	for _, leak := range leaks {
		fmt.Fprintln(s.out, "IN CLEAR:", leak)
	}
	if len(leaks) > 0 || capture.WireGuardPackets() == 0 {
		return fmt.Errorf("%d frames in clear and %d of WireGuard, want none and some", len(leaks), capture.WireGuardPackets())
	}
	return nil
}
