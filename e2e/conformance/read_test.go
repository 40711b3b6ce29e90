package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func diff(t *testing.T, want, got []testCase) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.AllowUnexported(testCase{})); d != "" {
		t.Error(d)
	}
}

func TestReadSpecs(t *testing.T) {
	const report = `[{"SpecReports": [
		{"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"},
		{"ContainerHierarchyTexts": ["[sig-network] Netpol", "between"], "LeafNodeType": "It", "LeafNodeText": "denies", "State": "passed", "RunTime": 2000000000},
		{"ContainerHierarchyTexts": ["[sig-network] Netpol"], "LeafNodeType": "It", "LeafNodeText": "leaks", "State": "failed", "Failure": {"Message": "1 wrong"}},
		{"ContainerHierarchyTexts": ["[sig-network] Netpol"], "LeafNodeType": "It", "LeafNodeText": "hangs", "State": "timedout", "Failure": {"Message": "too long"}},
		{"ContainerHierarchyTexts": ["[sig-network] Netpol"], "LeafNodeType": "It", "LeafNodeText": "SCTP", "State": "skipped"},
		{"ContainerHierarchyTexts": ["[sig-network] Netpol"], "LeafNodeType": "It", "LeafNodeText": "itself", "State": "skipped", "Failure": {"Message": "one node"}},
		{"ContainerHierarchyTexts": ["[sig-network] Netpol"], "LeafNodeType": "It", "LeafNodeText": "late", "State": "skipped"},
		{"ContainerHierarchyTexts": ["[sig-storage]"], "LeafNodeType": "It", "LeafNodeText": "mounts", "State": "skipped"},
		{"LeafNodeType": "SynchronizedAfterSuite", "State": "failed", "Failure": {"Message": "no API"}}]}]`
	got, err := readSpecs([]byte(report), func(name string) (bool, string) {
		switch name {
		case "[sig-storage] mounts":
			return false, ""
		case "[sig-network] Netpol SCTP":
			return true, "no sockets"
		}
		return true, ""
	})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, []testCase{
		{name: "[sig-network] Netpol between denies", verdict: passed, took: 2 * time.Second},
		{name: "[sig-network] Netpol leaks", verdict: failed, reason: "failed: 1 wrong"},
		{name: "[sig-network] Netpol hangs", verdict: failed, reason: "timedout: too long"},
		{name: "[sig-network] Netpol SCTP", verdict: skipped, reason: "no sockets"},
		{name: "[sig-network] Netpol itself", verdict: skipped, reason: "one node"},
		{name: "[sig-network] Netpol late", verdict: missed, reason: "the run ended before"},
		{name: "SynchronizedAfterSuite", verdict: failed, reason: "no API"},
	}, got)
}

func TestReadTests(t *testing.T) {
	const events = `{"Action":"run","Test":"TestConformance"}
{"Action":"run","Test":"TestConformance/A"}
{"Action":"run","Test":"TestConformance/A/one"}
{"Action":"output","Test":"TestConformance/A","Output":"no answer\n"}
{"Action":"fail","Test":"TestConformance/A/one","Elapsed":1.5}
{"Action":"run","Test":"TestConformance/A/two"}
{"Action":"pass","Test":"TestConformance/A/two","Elapsed":1}
{"Action":"fail","Test":"TestConformance/A","Elapsed":2.5}
{"Action":"run","Test":"TestConformance/B"}
{"Action":"output","Test":"TestConformance/B","Output":"not supported\n"}
{"Action":"skip","Test":"TestConformance/B"}
{"Action":"fail","Test":"TestConformance","Elapsed":3}
{"Action":"fail"}
`
	got, err := readTests([]byte(events))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, []testCase{
		{name: "A/one", verdict: failed, reason: "no answer\n", took: 1500 * time.Millisecond},
		{name: "A/two", verdict: passed, took: time.Second},
		{name: "B", verdict: skipped, reason: "not supported\n"},
	}, got)
}

func TestReadCyclonus(t *testing.T) {
	const lines = `{"name":"1: deny","state":"planned"}
{"name":"2: allow","state":"planned"}
{"name":"3: sctp","state":"planned"}
{"name":"4: late","state":"planned"}
{"name":"1: deny","state":"passed","seconds":2}
{"name":"2: allow","state":"failed","reason":"1 of 81","seconds":1}
{"name":"3: sctp","state":"sctp"}
`
	got, err := readCyclonus([]byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, []testCase{
		{name: "1: deny", verdict: passed, took: 2 * time.Second},
		{name: "2: allow", verdict: failed, reason: "1 of 81", took: time.Second},
		{name: "3: sctp", verdict: skipped, reason: noSCTP},
		{name: "4: late", verdict: missed, reason: "the run ended before"},
	}, got)
}

// TestExplain takes a failure for a skip only where all that failed is SCTP's sockets.
func TestExplain(t *testing.T) {
	const (
		socket  = "helper.go:71: FAILED Command was [/agnhost connect --protocol=sctp 10.0.0.1:9003]\nhelper.go:71: Expected connection to succeed, stderr: OTHER: protocol not supported\n"
		dropped = "helper.go:71: FAILED Command was [/agnhost connect --protocol=sctp 10.0.0.1:9003]\nhelper.go:71: Expected connection to succeed, stderr: TIMEOUT\n"
		tcp     = "helper.go:71: FAILED Command was [/agnhost connect --protocol=tcp 10.0.0.1:80]\nhelper.go:71: Expected connection to fail\n"
	)
	for said, want := range map[string]verdict{socket: skipped, socket + socket: skipped, dropped: failed, tcp: failed, socket + tcp: failed, "no pod": failed} {
		if got := explain(testCase{verdict: failed, reason: said}); got.verdict != want || got.reason == "" {
			t.Errorf("%s: %s (%s), want %s", said, got.verdict, got.reason, want)
		}
	}
}
