package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// Table writes the report as people read it.
func (r *Report) Table(out io.Writer) error {
	keys := make([]string, 0, len(r.Setting))
	for key := range r.Setting {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		fmt.Fprintf(out, "%s: %s\n", key, r.Setting[key])
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nmetric\tscale\tagainst\tWarren\tbaseline\tunit\tratio\tquartiles\tbar\t")
	for _, m := range r.Metrics {
		verdict := ""
		if !m.Bar.Met(m.Ratio) {
			verdict = "missed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%.3f..%.3f\t%s\t%s\n", m.Metric, m.Scale, m.Against, number(m.Value),
			number(m.Baseline), m.Unit, m.Ratio, m.Quartiles[0], m.Quartiles[1], m.Bar, verdict)
	}
	return w.Flush()
}

// number has three digits at least.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// Save writes the report to NAME.json in a folder, which is made where it is missing, and returns the file's path.
func (r *Report) Save(dir string) (string, error) {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding the report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("saving the report: %w", err)
	}
	path := filepath.Join(dir, r.Name+".json")
	if err := os.WriteFile(path, append(content, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("saving the report: %w", err)
	}
	return path, nil
}
