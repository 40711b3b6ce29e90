package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// reconcile is one run of the agent as the agent's log has it at level debug: its end, which is after everything was programmed.
type reconcile struct {
	end   time.Time
	took  time.Duration
	peers int
}

func (r reconcile) start() time.Time { return r.end.Add(-r.took) }

// agentLog reads the reconciles off an agent's log as it grows.
type agentLog struct {
	path   string
	offset int64
}

// openLog follows a log from its present end.
func openLog(path string) (*agentLog, error) {
	l := &agentLog{path: path}
	info, err := os.Stat(path)
	switch {
	case err == nil:
		l.offset = info.Size()
	case !os.IsNotExist(err):
		return nil, fmt.Errorf("following the agent's log: %w", err)
	}
	return l, nil
}

// read returns the reconciles since the last call.
func (l *agentLog) read() ([]reconcile, error) {
	file, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("following the agent's log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("following the agent's log: %w", err)
	}
	content := make([]byte, info.Size()-l.offset)
	if _, err := file.ReadAt(content, l.offset); err != nil {
		return nil, fmt.Errorf("following the agent's log: %w", err)
	}
	content = content[:bytes.LastIndexByte(content, '\n')+1] // a line may be half written
	l.offset += int64(len(content))
	var all []reconcile
	for line := range bytes.Lines(content) {
		var entry struct {
			Message string    `json:"msg"`
			Time    time.Time `json:"ts"`
			Took    float64   `json:"took"`
			Peers   int       `json:"peers"`
		}
		if err := json.Unmarshal(line, &entry); err != nil || entry.Message != "reconciled" {
			continue // what a crash writes is no JSON
		}
		all = append(all, reconcile{entry.Time, time.Duration(entry.Took * float64(time.Second)), entry.Peers})
	}
	return all, nil
}
