package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const output = `=== RUN   TestUndisturbed/agent_restarted
    undisturbed_test.go:85: resilience: {"device":"userspace","event":"agent restarted","gapMs":12,"lost":0,"maxGapMs":0,"sent":2600,"tcpBytes":500000,"tcpGapMs":9,"tcpWhole":true}
something else
    undisturbed_test.go:85: resilience: {"device":"userspace","event":"tunnel process killed","gapMs":382,"lost":311,"maxGapMs":1500,"sent":1763,"tcpBytes":560000,"tcpGapMs":417,"tcpWhole":true}
    undisturbed_test.go:85: resilience: {"device":"kernel","event":"agent restarted","gapMs":80,"lost":0,"maxGapMs":0,"sent":2500,"tcpBytes":1000,"tcpGapMs":90,"tcpWhole":false}
`

func TestTable(t *testing.T) {
	rows, err := parse(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(render(rows), head)
	want := `
## The kernel device

| event | UDP packets sent | lost | longest gap | TCP bytes | whole | longest gap |
| --- | --- | --- | --- | --- | --- | --- |
| agent restarted | 2500 | 0 | 80 ms | 1000 | no | 90 ms |

## The userspace device

| event | UDP packets sent | lost | longest gap | TCP bytes | whole | longest gap |
| --- | --- | --- | --- | --- | --- | --- |
| agent restarted | 2600 | 0 | 12 ms | 500000 | yes | 9 ms |
| tunnel process killed | 1763 | 311 (at most 1500 ms) | 382 ms | 560000 | yes | 417 ms |
`
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parse(strings.NewReader("resilience: {\"device\":")); err == nil {
		t.Error("a torn row was taken")
	}
}
