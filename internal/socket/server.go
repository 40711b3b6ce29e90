package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/mesh"
)

// Backend answers what the socket is asked.
type Backend interface {
	Status() (Status, error)
	Peers() ([]Peer, error)
	// Plan is the last one computed.
	Plan() mesh.Plan
	// Pods answers the CNI plugin. An error that is a *types.Error reaches the runtime with its code.
	Pods(ctx context.Context, command cni.Command, r cni.Request) ([]byte, error)
	// IPAM, CheckIPAM and Release are of the node's addresses.
	IPAM() (IPAM, error)
	CheckIPAM() ([]survey.Finding, error)
	Release(r Release) (Released, error)
	PolicyBackend
}

// Serve answers on a unix socket at path until ctx ends. A socket left by a dead agent is replaced; a live one is an error.
func Serve(ctx context.Context, path string, backend Backend) error {
	listener, err := Listen(ctx, path)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, backend.Status) })
	mux.HandleFunc("GET /v1/peers", func(w http.ResponseWriter, _ *http.Request) { answer(w, backend.Peers) })
	mux.HandleFunc("GET /v1/plan", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, func() (mesh.Plan, error) { return backend.Plan(), nil })
	})
	serveIPAM(mux, backend)
	servePolicy(mux, backend)
	for _, command := range cni.Commands {
		mux.HandleFunc("POST "+cni.URLPrefix+string(command), func(w http.ResponseWriter, r *http.Request) {
			answerPlugin(w, r, command, backend)
		})
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", path, err)
	}
	return nil
}

// Listen makes a unix socket, 0600 from its first moment: it is made under another name and renamed when it is closed to others.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("listening on %s: another process answers there; stop it first", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the socket's folder: %w", err)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing a left-over socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("putting the socket in place: %w", err), listener.Close())
	}
	return listener, nil
}

func answer[T any](w http.ResponseWriter, ask func() (T, error)) {
	value, err := ask()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil && !errors.Is(err, syscall.EPIPE) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
