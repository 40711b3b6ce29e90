package socket

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// FuzzServe: whatever is sent to the socket, the server answers or hangs up, and goes on answering others.
func FuzzServe(f *testing.F) {
	f.Add([]byte("GET /v1/status HTTP/1.1\r\nHost: agent\r\n\r\n"))
	f.Add([]byte("POST /v1/plan HTTP/1.1\r\nHost: agent\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"))
	f.Add([]byte("GET /v1/../../etc/shadow HTTP/1.0\r\n\r\n"))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Add([]byte("\x00\xff"))
	path := filepath.Join(f.TempDir(), "agent.sock")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, path, backend{status: Status{Node: "n1", PublicKey: someKey}}) }()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
	})
	client := NewClient(path)
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, err := client.Status(ctx); err == nil {
			break
		} else if time.Now().After(deadline) {
			f.Fatal("the server did not answer in 5 s:", err)
		}
		time.Sleep(time.Millisecond) // Polling a socket that has no event for its birth.
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = conn.Write(request) // the server may hang up before the end
		if err := conn.(*net.UnixConn).CloseWrite(); err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, conn)
		}
		if status, err := client.Status(t.Context()); err != nil || status.Node != "n1" {
			t.Fatalf("after %q another gets %+v, %v", request, status, err)
		}
	})
}
