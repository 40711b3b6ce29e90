package tunnel

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

const oneWay = 100 * time.Millisecond

// wire takes each message oneWay to the other side, and loses some of the first initiations.
type wire struct {
	conn.Bind
	*meeting
}

// meeting is what the wires of both sides know.
type meeting struct {
	loses func(lower bool) bool // whether a side's first initiation is lost, whose ephemeral key is the lower one or not
	mu    sync.Mutex
	first [][]byte
}

func (w wire) Send(buffers [][]byte, to conn.Endpoint) error {
	for _, b := range buffers {
		message := bytes.Clone(b)
		if isMessage(b, device.MessageInitiationType, device.MessageInitiationSize) {
			w.note(message)
		}
		time.AfterFunc(oneWay, func() {
			if !w.lost(message) {
				_ = w.Bind.Send([][]byte{message}, to) // what is sent to a side that is closed is lost
			}
		})
	}
	return nil
}

func (m *meeting) note(initiation []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.first) < 2 {
		m.first = append(m.first, initiation)
	}
}

func (m *meeting) lost(message []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, initiation := range m.first {
		if len(m.first) == 2 && bytes.Equal(initiation, message) {
			return m.loses(bytes.Compare(ephemeralOf(initiation), ephemeralOf(m.first[1-i])) < 0)
		}
	}
	return false
}

// TestCallsThatCross has pairs of nodes call each other at once. WireGuard alone needs Rekey-Timeout where the calls cross, and more where the next ones do.
// That is of most pairs only, either way: on a busy machine some begin one after the other, and some call while they begin to answer.
func TestCallsThatCross(t *testing.T) {
	t.Parallel()
	alone := func(b conn.Bind) conn.Bind { return b }
	// Longer than that of a tunnel, since a busy machine's round trips are, and shorter than Rekey-Timeout.
	held := func(b conn.Bind) conn.Bind { return newCrossing(b, 2*time.Second) }
	for _, tt := range []struct {
		name  string
		bind  func(conn.Bind) conn.Bind
		loses func(lower bool) bool
		most  bool // meet in less than Rekey-Timeout
	}{
		{"WireGuard alone", alone, func(bool) bool { return false }, false},
		{"held back", held, func(bool) bool { return false }, true},
		{"the one that counts is lost", held, func(lower bool) bool { return lower }, true},
		{"the other one is lost", held, func(lower bool) bool { return !lower }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const pairs = 10
			var met atomic.Int32
			var all sync.WaitGroup
			for range pairs {
				all.Go(func() {
					heard, err := meets(t.Name(), tt.bind, tt.loses)
					if err != nil {
						t.Error(err)
					}
					if heard {
						met.Add(1)
					}
				})
			}
			all.Wait()
			if n := met.Load(); (n > pairs/2) != tt.most {
				t.Errorf("%d of %d pairs met in less than %v; most of them: want %v", n, pairs, device.RekeyTimeout, tt.most)
			}
		})
	}
}

// meets says whether two nodes hear each other in less than Rekey-Timeout.
func meets(name string, bind func(conn.Bind) conn.Bind, loses func(lower bool) bool) (bool, error) {
	at := &meeting{loses: loses}
	addresses := [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	binds, ports := bindtest.NewChannelBinds(), [2]int{3, 4} // the ports are NewChannelBinds's
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return false, fmt.Errorf("making a key: %w", err)
		}
	}
	var links [2]*tuntest.ChannelTUN
	for i := range 2 {
		links[i] = tuntest.NewChannelTUN()
		dev := device.NewDevice(links[i].TUN(), bind(wire{binds[i], at}), device.NewLogger(device.LogLevelError, name))
		defer dev.Close()
		peer := 1 - i
		if err := dev.IpcSet(fmt.Sprintf("private_key=%x\npublic_key=%x\nallowed_ip=%s/32\nendpoint=127.0.0.1:%d\n",
			keys[i].Bytes(), keys[peer].PublicKey().Bytes(), addresses[peer], ports[i])); err != nil {
			return false, fmt.Errorf("configuring a device: %w", err)
		}
		if err := dev.Up(); err != nil {
			return false, fmt.Errorf("bringing a device up: %w", err)
		}
	}
	done, heard := make(chan struct{}), make(chan struct{}, 2)
	defer close(done)
	for i := range 2 {
		// As programs do, both say it again: wireguard-go may not repeat the call for a lone packet, where it answered one meanwhile.
		go speak(done, links[i].Outbound, tuntest.Ping(addresses[1-i], addresses[i]), time.Duration(100+30*i)*time.Millisecond)
		go hear(done, links[i].Inbound, heard)
	}
	late := time.After(device.RekeyTimeout)
	for range 2 {
		select {
		case <-heard:
		case <-late:
			return false, nil
		}
	}
	return true, nil
}

func speak(done <-chan struct{}, to chan<- []byte, message []byte, interval time.Duration) {
	for {
		select {
		case to <- message:
		case <-done:
			return
		}
		select {
		case <-time.After(interval):
		case <-done:
			return
		}
	}
}

// hear tells of the first message, and takes the others.
func hear(done <-chan struct{}, from <-chan []byte, heard chan<- struct{}) {
	for first := true; ; first = false {
		select {
		case <-from:
		case <-done:
			return
		}
		if first {
			heard <- struct{}{}
		}
	}
}
