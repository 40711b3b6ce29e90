package main

import (
	"os"
	"runtime/debug"
)

// collectorPercent is how much garbage, against what is in use, the agent lets come together. Go's own 100 is for programs that
// allocate all the time; in a mesh of 5,000 nodes it would take the agent's peak over 80 MiB, and an agent that idles has little to
// collect.
const collectorPercent = 50

// spareMemory sets that, unless the environment variable GOGC says otherwise.
func spareMemory() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(collectorPercent)
	}
}
