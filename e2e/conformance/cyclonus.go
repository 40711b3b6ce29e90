package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// runCyclonus runs the cases that cyclonus generates.
func runCyclonus(ctx context.Context, r *room) ([]testCase, error) {
	args := []string{"-out=" + r.file("cases.json")}
	if !hasSCTP() {
		args = append(args, "-sctp=false")
	}
	if r.options.quick {
		args = append(args, "-first=2")
	}
	if r.options.focus != "" {
		args = append(args, "-include="+r.options.focus)
	}
	runErr := r.command(ctx, "cyclonus", args...)
	content, err := os.ReadFile(r.file("cases.json"))
	if err != nil {
		return nil, errors.Join(runErr, err)
	}
	cases, err := readCyclonus(content)
	return cases, errors.Join(err, runErr)
}

// readCyclonus makes cases of what policy/cyclonus/generate wrote: first all that there are, then what became of each.
func readCyclonus(content []byte) (cases []testCase, err error) {
	type line struct {
		Name, State, Reason string
		Seconds             float64
	}
	at := map[string]int{}
	for decoder := json.NewDecoder(bytes.NewReader(content)); ; {
		var l line
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return cases, nil
		} else if err != nil {
			return cases, fmt.Errorf("reading what became of cyclonus' cases: %w", err)
		}
		found := testCase{name: l.Name, reason: l.Reason, took: time.Duration(l.Seconds * float64(time.Second))}
		switch l.State {
		case "planned":
			found.verdict, found.reason = missed, "the run ended before"
			at[l.Name] = len(cases)
			cases = append(cases, found)
			continue
		case "sctp":
			found.verdict, found.reason = skipped, noSCTP
		case "passed":
			found.verdict = passed
		default:
			found.verdict = failed
		}
		cases[at[l.Name]] = found
	}
}
