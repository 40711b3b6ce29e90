// Package report is what Warren's benches have in common: what they measured, as a table for people and as a file for programs.
package report

import (
	"fmt"
	"slices"
)

// Report is what one bench measured, in one run.
type Report struct {
	// Name is the bench's, and its file's: bench/out/NAME.json.
	Name string `json:"name"`
	// Setting is what has to be known to read the figures: processors, kernel, implementation, MTU, rounds.
	Setting map[string]string `json:"setting"`
	Metrics []Metric          `json:"metrics"`
}

// Metric is one thing measured, of Warren and of what it is compared with. Value and Baseline are medians. Ratio is the median of
// the ratios of samples that were taken side by side, which drifts less with the machine than the ratio of the medians does.
type Metric struct {
	Metric string `json:"metric"`
	Unit   string `json:"unit"`
	// Scale is the size of what was measured, such as "8 streams".
	Scale string `json:"scale"`
	// Against says what the baseline is.
	Against  string  `json:"against"`
	Value    float64 `json:"value"`
	Baseline float64 `json:"baseline"`
	Ratio    float64 `json:"ratio"`
	// Quartiles are the first and third of the ratios: half of them lie between.
	Quartiles [2]float64 `json:"quartiles"`
	Samples   Samples    `json:"samples"`
	// Bar is what the ratio has to keep to, if anything.
	Bar *Bar `json:"bar,omitempty"`
}

// Samples are the single measurements. Those at the same index were taken side by side.
type Samples struct {
	Value    []float64 `json:"value"`
	Baseline []float64 `json:"baseline"`
}

// Bar is the least or the most that a ratio should be. The one that is 0 does not count.
type Bar struct {
	AtLeast float64 `json:"atLeast,omitempty"`
	AtMost  float64 `json:"atMost,omitempty"`
}

// Met says whether a ratio keeps to the bar. No bar is always kept to.
func (b *Bar) Met(ratio float64) bool {
	return b == nil || (b.AtLeast == 0 || ratio >= b.AtLeast) && (b.AtMost == 0 || ratio <= b.AtMost)
}

func (b *Bar) String() string {
	switch {
	case b == nil:
		return "-"
	case b.AtLeast != 0:
		return fmt.Sprintf(">= %.2f", b.AtLeast)
	default:
		return fmt.Sprintf("<= %.2f", b.AtMost)
	}
}

// Complete works the medians and ratios out of the samples. It is an error if there are none, if they are not pairs, or if
// one that is divided by is 0.
func (m *Metric) Complete() error {
	values, baselines := m.Samples.Value, m.Samples.Baseline
	if len(values) == 0 || len(values) != len(baselines) {
		return fmt.Errorf("%s, %s: %d samples and %d of the baseline are no pairs", m.Metric, m.Scale, len(values), len(baselines))
	}
	ratios := make([]float64, len(values))
	for i, v := range values {
		if baselines[i] == 0 {
			return fmt.Errorf("%s, %s: sample %d of the baseline is 0", m.Metric, m.Scale, i)
		}
		ratios[i] = v / baselines[i]
	}
	m.Value, m.Baseline, m.Ratio = Median(values), Median(baselines), Median(ratios)
	m.Quartiles = [2]float64{quantile(ratios, 0.25), quantile(ratios, 0.75)}
	return nil
}

// Median is the middle of some values, of which there is at least one.
func Median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is between two values where none lies at q, in proportion.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
