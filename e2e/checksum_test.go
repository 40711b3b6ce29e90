package e2e

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// zeroChecksum sends a datagram whose checksum is computed to be zero. As such it would be dropped over IPv6, where zero means that there is none.
func zeroChecksum(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr) {
	t.Helper()
	there := netip.AddrPortFrom(to, lab.EchoPort)
	conn, err := from.Dial(ctx, "udp", there.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	local, _ := conn.LocalAddr().(*net.UDPAddr)
	here := netip.AddrPortFrom(local.AddrPort().Addr().Unmap(), uint16(local.Port))
	// The checksum is what is missing to all ones: as the payload, it leaves nothing missing.
	zeros, answer := make([]byte, 2), make([]byte, 2)
	payload := datagram(t, here, there, zeros)[ipHeader(to)+6:][:2]
	if sum := datagram(t, here, there, payload)[ipHeader(to)+6:][:2]; !bytes.Equal(sum, zeros) && !bytes.Equal(sum, []byte{0xff, 0xff}) {
		t.Fatalf("the checksum is %x, and not zero", sum)
	}
	if _, err := conn.Write(payload); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(pace.Scale(2 * time.Second))); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(answer); err != nil || !bytes.Equal(answer[:n], payload) {
		t.Errorf("a datagram to %s with a checksum of zero: %x came back, %v", to, answer[:n], err)
	}
}
