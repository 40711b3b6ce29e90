package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/warren-mesh/warren/bench/report"
)

// figure is one thing measured at one scale, and what it is compared with in the same run.
type figure struct {
	Metric string  `json:"metric"`
	Nodes  int     `json:"nodes"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Against says what the baseline is; empty where there is none.
	Against  string  `json:"against,omitempty"`
	Baseline float64 `json:"baseline,omitempty"`
	// Ratio is Value over Baseline.
	Ratio float64 `json:"ratio,omitempty"`
	// Bar is what is asked for, and Met whether that is so; both empty where nothing is asked.
	Bar string `json:"bar,omitempty"`
	Met *bool  `json:"met,omitempty"`
	// Samples are the single measurements, if there are several.
	Samples []float64 `json:"samples,omitempty"`
}

// against sets the baseline.
func (f figure) against(what string, baseline float64) figure {
	f.Against, f.Baseline = what, baseline
	if baseline != 0 {
		f.Ratio = f.Value / baseline
	}
	return f
}

// atMost sets a bar on the value.
func (f figure) atMost(limit float64) figure {
	return f.bar(f.Value <= limit, "<= %g %s", limit, f.Unit)
}

// ratioAtMost sets a bar on the ratio.
func (f figure) ratioAtMost(limit float64) figure {
	return f.bar(f.Ratio <= limit, "ratio <= %g", limit)
}

func (f figure) bar(met bool, format string, args ...any) figure {
	f.Bar, f.Met = fmt.Sprintf(format, args...), &met
	return f
}

// figures are what one run measured.
type figures struct {
	// Setting is what has to be known to read them.
	Setting map[string]string `json:"setting"`
	Figures []figure          `json:"figures"`

	progress io.Writer
}

// add also tells of the figure at once: the whole takes minutes.
func (r *figures) add(f figure) {
	r.Figures = append(r.Figures, f)
	fmt.Fprintf(r.progress, "          %s, %d nodes: %s %s", f.Metric, f.Nodes, report.Number(f.Value), f.Unit)
	if f.Against != "" {
		fmt.Fprintf(r.progress, " (%s: %s)", f.Against, report.Number(f.Baseline))
	}
	fmt.Fprintln(r.progress)
}

// messages is the sum of what one event of each kind sends at a scale.
func (r *figures) messages(nodes int) (sum float64) {
	for _, f := range r.Figures {
		if f.Nodes == nodes && strings.HasPrefix(f.Metric, "messages to ") {
			sum += f.Value
		}
	}
	return sum
}

// table writes the figures as people read them: each metric at its scales.
func (r *figures) table(out io.Writer) error {
	report.WriteSetting(out, r.Setting)
	var metrics []string
	for _, f := range r.Figures {
		if !slices.Contains(metrics, f.Metric) {
			metrics = append(metrics, f.Metric)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nmetric\tnodes\tWarren\tunit\tagainst\tbaseline\tratio\tbar\t")
	for _, metric := range metrics {
		for _, f := range r.Figures {
			if f.Metric == metric {
				f.row(w)
			}
		}
	}
	return w.Flush()
}

func (f figure) row(w io.Writer) {
	baseline, ratio, verdict := "-", "-", ""
	if f.Against != "" {
		baseline, ratio = report.Number(f.Baseline), report.Number(f.Ratio)
	}
	if f.Met != nil && !*f.Met {
		verdict = "missed"
	}
	fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Metric, f.Nodes, report.Number(f.Value), f.Unit, f.Against, baseline, ratio, f.Bar, verdict)
}

// quantile is the smallest of some values that at least the share q of them does not exceed.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := int(q*float64(len(sorted))+0.9999) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}
