package agent

import (
	"runtime"
	"sync"
	"time"
)

// rushEnd is how long after a call of the plugin another one is thought to come. To change the number of processors stops all that the agent does for
// a moment, and the call waits for it.
const rushEnd = 10 * time.Second

// rushProcessors are as many as Go lets run at once then. Two parts of an ADD wait in the kernel most of their time, for the disk and for rtnetlink, and
// each keeps one meanwhile.
const rushProcessors = 3

// rush has the agent work on more than one processor while pods come and go. For all else one is enough, and costs less (cmd/warrend); but the parts
// of an ADD go on side by side, and wait for each other where there is only one.
type rush struct {
	mu    sync.Mutex
	calls int
	// before is how many processors there were; 0 where that was not changed.
	before int
	over   *time.Timer
}

// begin is told of a call, and end of its end.
func (r *rush) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.over != nil {
		r.over.Stop()
	}
	if r.before == 0 && runtime.GOMAXPROCS(0) == 1 && runtime.NumCPU() > 1 {
		r.before = runtime.GOMAXPROCS(rushProcessors)
	}
}

func (r *rush) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls--
	if r.calls == 0 && r.before != 0 {
		r.over = time.AfterFunc(rushEnd, r.calm)
	}
}

func (r *rush) calm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == 0 && r.before != 0 {
		runtime.GOMAXPROCS(r.before)
		r.before = 0
	}
}
