// Package pace stretches the bars of time where the processor is emulated, all by one stated factor. What counts packets is never
// stretched.
package pace

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// Variable names the factor, a number of at least 1. Without it bars are what they say.
const Variable = "WARREN_TIME_FACTOR"

// Factor is what bars are multiplied by. A value that is no factor is a mistake of whoever set it, and ends the process.
var Factor = sync.OnceValue(func() float64 {
	text := os.Getenv(Variable)
	if text == "" {
		return 1
	}
	factor, err := strconv.ParseFloat(text, 64)
	if err != nil || !(factor >= 1) {
		fmt.Fprintf(os.Stderr, "%s=%s: want a number of at least 1\n", Variable, text)
		os.Exit(2)
	}
	return factor
})

// Scale is a bar, or a wait, on this processor.
func Scale(d time.Duration) time.Duration { return time.Duration(float64(d) * Factor()) }

// Since is the time since start as bars count it: what is left of one is the bar less this.
func Since(start time.Time) time.Duration {
	return time.Duration(float64(time.Since(start)) / Factor())
}
