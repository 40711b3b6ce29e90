package agent

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/warren-mesh/warren/internal/kube"
)

// TestReconciled follows an agent from its start through failures: what /readyz answers, and what is logged, once each.
func TestReconciled(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	a := &Agent{logger: zap.New(core)}
	a.metrics = newMetrics(a)
	guard, route := errors.New("programming the guard: permission denied"), errors.New("programming the route: no such device")
	for _, step := range []struct {
		name string
		err  error
		// status and body are /readyz's answer after it, logged the messages that it brought.
		status int
		body   string
		logged []string
	}{
		{"fails before it ever worked", guard, 503, guard.Error(), []string{"the mesh could not be programmed; retrying"}},
		{"fails as before", guard, 503, guard.Error(), nil},
		{"fails otherwise", route, 503, route.Error(), []string{"the mesh could not be programmed; retrying"}},
		{"works", nil, 200, "ok", []string{"the mesh is programmed again"}},
		{"works still", nil, 200, "ok", nil},
		{"fails after it worked", route, 503, route.Error(), []string{"the mesh could not be programmed; retrying"}},
	} {
		a.audit.Store(false)
		if step.err == nil {
			a.programmed.Store(true) // as reconcile does
		}
		a.reconciled(time.Millisecond, step.err)
		if got := a.audit.Load(); got != (step.err != nil) {
			t.Errorf("%s: the next one reads the kernel: %v", step.name, got)
		}
		status, body := readyz(a)
		if status != step.status || body != step.body+"\n" {
			t.Errorf("%s: /readyz answers %d %q, want %d %q", step.name, status, body, step.status, step.body)
		}
		var logged []string
		for _, entry := range logs.TakeAll() {
			logged = append(logged, entry.Message)
		}
		if diff := cmp.Diff(step.logged, logged); diff != "" {
			t.Errorf("%s: logged (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestNotReadyBeforeTheAPIServer is an agent that has neither failed nor done anything.
func TestNotReadyBeforeTheAPIServer(t *testing.T) {
	status, body := readyz(&Agent{})
	if want := "the mesh is not programmed yet: waiting for the API server\n"; status != 503 || body != want {
		t.Errorf("/readyz answers %d %q, want 503 %q", status, body, want)
	}
}

func readyz(a *Agent) (status int, body string) {
	recorder := httptest.NewRecorder()
	a.readyz(recorder, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return recorder.Code, recorder.Body.String()
}

func TestServiceCIDRs(t *testing.T) {
	given, asked := []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16")}
	for name, c := range map[string]struct{ flag, api, want []netip.Prefix }{
		"of the flag": {given, asked, given},
		"of the API":  {nil, asked, asked},
		"of nobody":   {nil, nil, nil},
	} {
		a := &Agent{config: Config{ServiceCIDRs: c.flag, MTU: 1400}}
		local, err := a.local(kube.Snapshot{ServiceCIDRs: c.api})
		if diff := cmp.Diff(c.want, local.ServiceCIDRs, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestFamilies(t *testing.T) {
	four, six := netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:244:0:1::/64")
	for _, c := range []struct {
		prefixes   []netip.Prefix
		ipv4, ipv6 bool
	}{
		{nil, false, false},
		{[]netip.Prefix{four}, true, false},
		{[]netip.Prefix{six}, false, true},
		{[]netip.Prefix{six, four}, true, true},
	} {
		if ipv4, ipv6 := families(c.prefixes); ipv4 != c.ipv4 || ipv6 != c.ipv6 {
			t.Errorf("families of %v: %v, %v", c.prefixes, ipv4, ipv6)
		}
	}
}
