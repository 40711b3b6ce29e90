package policyapi

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"sigs.k8s.io/network-policy-api/conformance"
)

// sctpServer matches a container of the base pods that serves SCTP. Where the kernel has no such sockets it would end again and again, and
// no base pod ever be ready.
var sctpServer = regexp.MustCompile(`(?m)^        - name: .*\n          image: .*\n          command: .*agnhost porter.*\n          env:\n          - name: SERVE_SCTP_.*\n            value: .*\n`)

// sctpServers is how many of them there are: two in each of five StatefulSets.
const sctpServers = 10

// baseWithoutSCTP is where the suite can read its base manifests, less those containers. It reads them from its own files or by HTTPS.
func baseWithoutSCTP(t *testing.T) string {
	t.Helper()
	base, err := conformance.Manifests.ReadFile("base/manifests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base = append(base, '\n')
	if found := len(sctpServer.FindAll(base, -1)); found != sctpServers {
		t.Fatalf("the suite's base manifests have %d containers that serve SCTP, not %d: look how it has changed", found, sctpServers)
	}
	base = sctpServer.ReplaceAll(base, nil)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(base) }))
	t.Cleanup(server.Close)
	suites := http.DefaultClient
	http.DefaultClient = server.Client() // the one that the suite asks by
	t.Cleanup(func() { http.DefaultClient = suites })
	return server.URL
}
