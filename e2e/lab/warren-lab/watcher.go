package main

import (
	"bytes"
	"fmt"
	"io"
)

// watcher passes on what an owner says, up to its last line, which speaks of its own terminal.
type watcher struct {
	out     io.Writer
	rest    []byte // a line that has not ended
	settled bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, after, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole || w.settled {
			return len(p), nil
		}
		w.rest = after
		if string(line) == settled {
			w.settled = true
			continue
		}
		if _, err := fmt.Fprintf(w.out, "%s\n", line); err != nil {
			return 0, err
		}
	}
}
