package tunnel

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"
)

const (
	// logBurst lines may be written at once, and one more each logEvery.
	logBurst = 50
	logEvery = time.Second
	// logSize is the most that a log file of ours grows to, in bytes; then it begins anew.
	logSize = 1 << 20
)

// limited is a log that a device with thousands of unreachable peers cannot fill a disk with.
type limited struct {
	out io.Writer
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex // guards what follows
	tokens  int
	filled  time.Time
	skipped int
}

func newLimited(out io.Writer, iface string) *limited {
	return &limited{
		out: out, log: slog.New(slog.NewJSONHandler(out, nil)).With("interface", iface),
		now: time.Now, tokens: logBurst, filled: time.Now(),
	}
}

// newLogger is the device's logger: errors only. wireguard-go names peers by a short form of their public keys.
func newLogger(out io.Writer, iface string) *device.Logger {
	return &device.Logger{Verbosef: device.DiscardLogf, Errorf: newLimited(out, iface).errorf}
}

func (l *limited) errorf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refill := int(l.now().Sub(l.filled) / logEvery); refill > 0 {
		l.tokens = min(logBurst, l.tokens+refill)
		l.filled = l.now()
	}
	if l.tokens == 0 {
		l.skipped++
		return
	}
	l.tokens--
	l.truncate()
	message := fmt.Sprintf(format, args...)
	if l.skipped > 0 {
		l.log.Error(message, "skipped", l.skipped)
		l.skipped = 0
		return
	}
	l.log.Error(message)
}

// truncate empties a log file that has grown too large. It is opened for appending, so the next line is its first.
func (l *limited) truncate() {
	file, ok := l.out.(*os.File)
	if !ok {
		return
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > logSize {
		_ = file.Truncate(0) // there is nowhere to say that it failed
	}
}
