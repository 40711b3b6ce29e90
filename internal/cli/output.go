package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// output is the flag --output: text for people, json for programs.
type output struct{ format string }

func (o *output) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "text", "text or json")
}

// check reports a format that there is not, before anything is asked.
func (o *output) check() error {
	if !slices.Contains([]string{"text", "json"}, o.format) {
		return fmt.Errorf("--output %q: want text or json", o.format)
	}
	return nil
}

// print writes value as JSON, or calls text.
func (o *output) print(w io.Writer, value any, text func(io.Writer)) error {
	if o.format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	text(w)
	return nil
}

// list is a comma-separated list, or a word for an empty one.
func list[T fmt.Stringer](items []T, none string) string {
	if len(items) == 0 {
		return none
	}
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.String()
	}
	return strings.Join(texts, ", ")
}

// size is a number of bytes as `wg show` prints it.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, suffix = value/unit, next
	}
	return fmt.Sprintf("%.2f %s", value, suffix)
}

// ago is how long ago a handshake was.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}
