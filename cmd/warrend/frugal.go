package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// collectorPercent is how much garbage, against what is in use, the agent lets come together. Go's own 100 is for programs that
// allocate all the time; in a mesh of 5,000 nodes it would take the agent's peak over 80 MiB, and an agent that idles has little to
// collect.
const collectorPercent = 50

// processors is how many the agent works on at once. It waits nearly all the time, and what comes is small: with more, each event wakes a
// thread that looks for work and finds none, which costs more than the event.
const processors = 1

// beFrugal sets these, unless Go's own environment variables say otherwise.
func beFrugal() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(collectorPercent)
	}
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(processors)
	}
}
