package agent

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestRush has more processors from the first call until a while after the last one.
func TestRush(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("this machine has one processor")
	}
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	synctest.Test(t, func(t *testing.T) {
		var r rush
		want := func(when string, processors int) {
			t.Helper()
			synctest.Wait()
			if got := runtime.GOMAXPROCS(0); got != processors {
				t.Errorf("%s: %d processors, want %d", when, got, processors)
			}
		}
		r.begin()
		want("at a call", rushProcessors)
		r.begin()
		r.end()
		time.Sleep(2 * rushEnd)
		want("while another call goes on", rushProcessors)
		r.end()
		time.Sleep(rushEnd / 2)
		want("soon after", rushProcessors)
		r.begin()
		r.end()
		time.Sleep(rushEnd * 3 / 4)
		want("soon after one that came meanwhile", rushProcessors)
		time.Sleep(rushEnd)
		want("a while after", 1)
		r.begin()
		want("at the next call", rushProcessors)
		r.end()
		time.Sleep(2 * rushEnd)
		want("in the end", 1)
	})
	runtime.GOMAXPROCS(2)
	var r rush
	r.begin()
	defer r.end()
	if got := runtime.GOMAXPROCS(0); got != 2 {
		t.Errorf("%d processors, and somebody wanted 2", got)
	}
}
