package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveHTTP answers /metrics, /healthz (the process serves) and /readyz (the mesh has been programmed).
func (a *Agent) serveHTTP(ctx context.Context) error {
	if a.config.MetricsBindAddress == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.MetricsBindAddress)
	if err != nil {
		return fmt.Errorf("listening on --metrics-bind-address: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.readyz)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}

func (a *Agent) readyz(w http.ResponseWriter, _ *http.Request) {
	problem, waiting := a.problem.String(), "the mesh is not programmed yet: waiting for the API server"
	if a.config.Mode == PolicyOnly {
		problem, _ = a.policyProblem()
		waiting = errNotPoliced.Error()
	}
	switch {
	case problem != "":
		http.Error(w, problem, http.StatusServiceUnavailable)
	case !a.programmed.Load():
		http.Error(w, waiting, http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok\n"))
	}
}
