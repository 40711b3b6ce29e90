package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage, against what is in use, the agent lets come together. Go's own 100 percent is for programs that allocate all the time; in a
// mesh of 5,000 nodes it would take the agent's peak over 80 MiB, and an agent that idles has little to collect. In a small mesh, on the other
// hand, that is a megabyte, which a few pods make, and a collection costs as much as a pod: it may be collectorFloor, in bytes, anywhere.
const (
	collectorPercent = 50
	collectorFloor   = 8 << 20
)

// processors is how many the agent works on at once. It waits nearly all the time, and what comes is small: with more, each event wakes a
// thread that looks for work and finds none, which costs more than the event. While pods come and go the agent takes more.
const processors = 1

// beFrugal sets these, unless Go's own environment variables say otherwise.
func beFrugal() {
	if _, set := os.LookupEnv("GOGC"); !set {
		tuneCollector(struct{}{})
	}
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(processors)
	}
}

// tuneCollector says when to collect next, by what is in use now, and does so again after that.
func tuneCollector(struct{}) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetGCPercent(collectorAt(live[0].Value.Uint64()))
	runtime.AddCleanup(new([16]byte), tuneCollector, struct{}{})
}

// tunnelCollectorPercent is the same of the tunnel process, which has nearly nothing but message buffers. Those in use are used again, packets make no
// garbage, and with Go's own percentage as much again as all of them would stay resident once a few thousand peers had come and gone.
const tunnelCollectorPercent = 25

// beFrugalTunnel sets it, unless Go's own environment variable says otherwise.
func beFrugalTunnel() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(tunnelCollectorPercent)
	}
}

// leastHeap is what Go takes to be in use at least, in bytes, also before it has ever collected.
const leastHeap = 4 << 20

// collectorAt is the percentage for so many bytes in use.
func collectorAt(live uint64) int {
	return max(collectorPercent, int(100*collectorFloor/max(live, leastHeap))) //nolint:gosec // at most 200
}
