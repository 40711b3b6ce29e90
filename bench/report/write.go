package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// Table writes the report as people read it.
func (r *Report) Table(out io.Writer) error {
	WriteSetting(out, r.Setting)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nmetric\tscale\tagainst\tWarren\tbaseline\tunit\tratio\tquartiles\tbar\t")
	for _, m := range r.Metrics {
		verdict := ""
		if !m.Bar.Met(m.Ratio) {
			verdict = "missed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%.3f..%.3f\t%s\t%s\n", m.Metric, m.Scale, m.Against, Number(m.Value),
			Number(m.Baseline), m.Unit, m.Ratio, m.Quartiles[0], m.Quartiles[1], m.Bar, verdict)
	}
	return w.Flush()
}

// WriteSetting writes what has to be known to read figures.
func WriteSetting(out io.Writer, setting map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(setting)) {
		fmt.Fprintf(out, "%s: %s\n", key, setting[key])
	}
}

// Number has three digits at least.
func Number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v == 0:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// Save writes the report to NAME.json in a folder, which is made where it is missing, and returns the file's path.
func (r *Report) Save(dir string) (string, error) { return Save(dir, r.Name, r) }

// Save writes figures to NAME.json in a folder, which is made where it is missing, and returns the file's path.
func Save(dir, name string, figures any) (string, error) {
	content, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding the figures: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("saving the figures: %w", err)
	}
	path := filepath.Join(dir, name+".json")
	if err := os.WriteFile(path, append(content, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("saving the figures: %w", err)
	}
	return path, nil
}

// Kernel is the running kernel's version without what its builder added.
func Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	version, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return version
}
