package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestCollectorAt(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{0: 200, 2 * mib: 200, 8 * mib: 100, 16 * mib: collectorPercent, 200 * mib: collectorPercent} {
		if got := collectorAt(live); got != want {
			t.Errorf("with %d MiB in use: %d%%, want %d%%", live/mib, got, want)
		}
	}
}

// TestTuneCollector follows what is in use, collection after collection.
func TestTuneCollector(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	tuneCollector(struct{}{})
	for _, c := range []struct {
		use  int
		want func(percent int) bool
	}{
		{64 << 20, func(percent int) bool { return percent == collectorPercent }},
		{0, func(percent int) bool { return percent > collectorPercent }},
	} {
		used := make([]byte, c.use)
		percent := 0
		for range 100 {
			runtime.GC()
			time.Sleep(10 * time.Millisecond) // Cleanups have a goroutine of their own.
			percent = debug.SetGCPercent(100)
			debug.SetGCPercent(percent)
			if c.want(percent) {
				break
			}
		}
		if !c.want(percent) {
			t.Errorf("with %d bytes more in use: %d%%", c.use, percent)
		}
		runtime.KeepAlive(used)
	}
}
