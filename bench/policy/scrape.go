package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// histogram is how many events took at most so many seconds, by the bounds of the buckets.
type histogram struct {
	count   float64
	buckets map[float64]float64
}

// within is the bound of the bucket that the percentile is in.
func (h histogram) within(percentile int) time.Duration {
	bounds := make([]float64, 0, len(h.buckets))
	for bound := range h.buckets {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	for _, bound := range bounds {
		if h.buckets[bound] >= h.count*float64(percentile)/100 {
			return time.Duration(bound * float64(time.Second))
		}
	}
	return math.MaxInt64
}

// minus is what came since.
func (h histogram) minus(before histogram) histogram {
	out := histogram{h.count - before.count, map[float64]float64{}}
	for bound, count := range h.buckets {
		out.buckets[bound] = count - before.buckets[bound]
	}
	return out
}

// The agent's own names.
const (
	eventMetric    = "warren_policy_event_seconds"
	residentMetric = "process_resident_memory_bytes"
)

// counted is what the agent has counted of events of a kind so far.
func (s *apiScene) counted(ctx context.Context, kind string) (histogram, error) {
	out := histogram{buckets: map[float64]float64{}}
	label := fmt.Sprintf("{kind=%q", kind)
	err := s.scrape(ctx, func(name string, value float64) {
		switch {
		case strings.HasPrefix(name, eventMetric+"_count"+label):
			out.count = value
		case strings.HasPrefix(name, eventMetric+"_bucket"+label):
			_, bound, _ := strings.Cut(name, `le="`)
			if b, err := strconv.ParseFloat(strings.TrimRight(bound, `"}`), 64); err == nil {
				out.buckets[b] = value
			}
		}
	})
	return out, err
}

// since waits until the agent has counted so many more events than before, and returns those.
func (s *apiScene) since(ctx context.Context, kind string, before histogram, more int) (histogram, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		now, err := s.counted(ctx, kind)
		if err == nil && now.count >= before.count+float64(more) {
			return now.minus(before), nil
		}
		select {
		case <-ctx.Done():
			return histogram{}, fmt.Errorf("waiting for %d events of kind %s: the agent has counted %.0f: %w", more, kind, now.count-before.count, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// resident is what the agent has in memory, in MiB.
func (s *apiScene) resident(ctx context.Context) (mib float64, err error) {
	err = s.scrape(ctx, func(name string, value float64) {
		if name == residentMetric {
			mib = value / (1 << 20)
		}
	})
	if err == nil && mib == 0 {
		err = fmt.Errorf("the agent's metrics have no %s", residentMetric)
	}
	return mib, err
}

// scrape reads the agent's metrics.
func (s *apiScene) scrape(ctx context.Context, do func(name string, value float64)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.MetricsAddress+"/metrics", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: s.node.Dial, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("reading the agent's metrics: %w", err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			do(name, value)
		}
	}
	return nil
}
