package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
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
	conn, err := from.Dial(ctx, "udp", netip.AddrPortFrom(to, lab.EchoPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	local, _ := conn.LocalAddr().(*net.UDPAddr)
	const length = udpHeader + 2
	header := append(local.AddrPort().Addr().Unmap().AsSlice(), to.AsSlice()...)
	for _, v := range []uint16{length, 17, uint16(local.Port), lab.EchoPort, length} {
		header = binary.BigEndian.AppendUint16(header, v)
	}
	sum := uint32(0)
	for ; len(header) > 0; header = header[2:] {
		sum += uint32(binary.BigEndian.Uint16(header))
	}
	payload, answer := binary.BigEndian.AppendUint16(nil, uint16(0xffff-sum%0xffff)), make([]byte, 2)
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
