package report

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComplete(t *testing.T) {
	// The machine was twice as fast in the second round: the ratios do not show it.
	m := Metric{Samples: Samples{Value: []float64{90, 190, 110}, Baseline: []float64{100, 200, 100}}}
	if err := m.Complete(); err != nil {
		t.Fatal(err)
	}
	want := Metric{Value: 110, Baseline: 100, Ratio: 0.95, Quartiles: [2]float64{0.925, 1.025}, Samples: m.Samples}
	round := cmp.Transformer("round", func(f float64) int { return int(f*1000 + 0.5) })
	if diff := cmp.Diff(want, m, round); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestCompleteRefuses(t *testing.T) {
	for name, s := range map[string]Samples{
		"no samples":   {},
		"no pairs":     {Value: []float64{1, 2}, Baseline: []float64{1}},
		"divided by 0": {Value: []float64{1}, Baseline: []float64{0}},
	} {
		if err := (&Metric{Samples: s}).Complete(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 3, 2, 1}, 2.5},
	} {
		if got := Median(c.values); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		bar   *Bar
		ratio float64
		want  bool
		text  string
	}{
		{nil, 7, true, "-"},
		{&Bar{AtLeast: 0.97}, 0.97, true, ">= 0.97"},
		{&Bar{AtLeast: 0.97}, 0.969, false, ">= 0.97"},
		{&Bar{AtMost: 1.05}, 1.05, true, "<= 1.05"},
		{&Bar{AtMost: 1.05}, 1.051, false, "<= 1.05"},
	} {
		if got := c.bar.Met(c.ratio); got != c.want || c.bar.String() != c.text {
			t.Errorf("%s.Met(%v) = %v, want %s and %v", c.bar, c.ratio, got, c.text, c.want)
		}
	}
}

func TestWriting(t *testing.T) {
	r := &Report{Name: "example", Setting: map[string]string{"MTU": "1440", "CPUs": "2"}, Metrics: []Metric{{
		Metric: "latency", Unit: "µs", Scale: "1 in flight", Against: "bare", Bar: &Bar{AtMost: 1.05},
		Samples: Samples{Value: []float64{110}, Baseline: []float64{100}},
	}}}
	if err := r.Metrics[0].Complete(); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := r.Table(&table); err != nil {
		t.Fatal(err)
	}
	want := `CPUs: 2
MTU: 1440

metric   scale        against  Warren  baseline  unit  ratio  quartiles     bar      
latency  1 in flight  bare     110     100       µs    1.100  1.100..1.100  <= 1.05  missed
`
	if diff := cmp.Diff(want, table.String()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	path, err := r.Save(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(content, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Errorf("read back, want -, got +:\n%s", diff)
	}
}
