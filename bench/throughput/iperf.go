package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	// omitted is the start of each TCP run that does not count, in seconds.
	omitted = 1
	// attempts is how often iperf3 is started anew that hangs or fails, which it does now and then.
	attempts = 3
)

// result is what is read of iperf3's JSON.
type result struct {
	Error string `json:"error"`
	End   struct {
		SumReceived struct {
			Bytes   float64 `json:"bytes"`
			Seconds float64 `json:"seconds"`
		} `json:"sum_received"`
		Sum struct {
			Packets     float64 `json:"packets"`
			LostPackets float64 `json:"lost_packets"`
			Seconds     float64 `json:"seconds"`
		} `json:"sum"`
	} `json:"end"`
}

// tcp is the bytes a second that arrive by some TCP streams at once, in Gb/s.
func tcp(streams int) measurement {
	return func(ctx context.Context, p path, d time.Duration) (sample, error) {
		before, err := tunnelCPU(p)
		if err != nil {
			return sample{}, err
		}
		r, err := iperf(ctx, p, d, "-P", strconv.Itoa(streams), "-O", strconv.Itoa(omitted))
		if err != nil {
			return sample{}, err
		}
		after, err := tunnelCPU(p)
		received := r.End.SumReceived
		if err != nil || received.Bytes == 0 || received.Seconds == 0 {
			return sample{}, errors.Join(errors.New("iperf3 received nothing"), err)
		}
		rate := received.Bytes / received.Seconds
		// The processors' time is that of the whole run, the bytes are those after its start.
		whole := rate * (d.Seconds() + omitted)
		return sample{value: rate * 8 / 1e9, cpu: (after - before).Seconds() / whole * 1e9}, nil
	}
}

// flood is how many thousand small packets a second arrive when as many are sent as go out.
func flood(ctx context.Context, p path, d time.Duration) (sample, error) {
	// No -O: with it iperf3 counts wrongly what was lost.
	r, err := iperf(ctx, p, d, "-u", "-b", "0", "-l", strconv.Itoa(smallPayload))
	if err != nil {
		return sample{}, err
	}
	sum := r.End.Sum
	if sum.Seconds == 0 || sum.Packets <= sum.LostPackets {
		return sample{}, fmt.Errorf("iperf3 received nothing of %.0f packets", sum.Packets)
	}
	return sample{value: (sum.Packets - sum.LostPackets) / sum.Seconds / 1000}, nil
}

func iperf(ctx context.Context, p path, d time.Duration, args ...string) (r result, err error) {
	for range attempts {
		if r, err = iperfOnce(ctx, p, d, args); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return r, fmt.Errorf("iperf3 by the path %s: %w", p.name, err)
	}
	return r, nil
}

func iperfOnce(ctx context.Context, p path, d time.Duration, args []string) (r result, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*d+10*time.Second, errors.New("iperf3 hangs"))
	defer cancel()
	wait, err := serve(ctx, p)
	if err != nil {
		return r, err
	}
	defer wait()
	defer cancel() // before the wait: where the client failed the server would wait for ever
	seconds := strconv.Itoa(int(d / time.Second))
	args = append([]string{"-c", p.cpus[0].String(), "iperf3", "-c", p.to.String(), "-J", "-t", seconds}, args...)
	out, err := p.client.Command(ctx, "taskset", args...).Output()
	if jsonErr := json.Unmarshal(out, &r); err == nil {
		err = jsonErr
	}
	if r.Error != "" {
		err = errors.Join(errors.New(r.Error), err)
	}
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return r, err
}

// serve starts a server for one client and returns when it listens. It ends with ctx or after the client; wait waits for this.
func serve(ctx context.Context, p path) (wait func(), err error) {
	server := p.server.Command(ctx, "taskset", "-c", p.cpus[1].String(), "iperf3", "-s", "-1", "--forceflush")
	out, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: iperf3 does not listen: %w", p.server.Name, err), server.Wait())
		}
		if strings.Contains(line, "listening") {
			break
		}
	}
	return func() {
		_, _ = io.Copy(io.Discard, lines) // to its end
		_ = server.Wait()                 // it may have been killed; what counts is what the client says
	}, nil
}
