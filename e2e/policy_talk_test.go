package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// talk is a connection of TCP, an association of SCTP or a UDP flow of which one end or both say numbered words. Whoever opened it says the first.
type talk struct {
	name           string
	client, server *speaker
}

// speaker is one end of a talk.
type speaker struct {
	conn    net.Conn
	speaks  bool
	running sync.WaitGroup
	stop    chan struct{}

	mu    sync.Mutex // guards the rest
	said  int
	heard []int     // the numbers of the words, as they came
	last  time.Time // when a word was last heard
	err   error     // of a connection
}

// talkOptions say between whom a talk is, and how.
type talkOptions struct {
	network  string // tcp, sctp or udp
	from, to *lab.Host
	// address is the server's; via, where given, is what the client calls instead.
	address netip.Addr
	via     netip.Addr
	port    uint16 // 0: one that nobody else has
	// client and server say who speaks.
	client, server bool
	interval       time.Duration
}

const wordSize = 8 // bytes

// nextTalkPort is the last port that a talk was given.
var nextTalkPort atomic.Uint32

// openTalk opens a talk, waits until its first word is heard, and has it go on.
func openTalk(ctx context.Context, o talkOptions) (*talk, error) {
	if o.port == 0 {
		o.port = uint16(20000 + nextTalkPort.Add(1)%10000)
	}
	if !o.via.IsValid() {
		o.via = o.address
	}
	k := &talk{name: fmt.Sprintf("%s>%s %s %s, %s", o.from.Name, o.to.Name, o.network, o.via, speaking(o.client, o.server))}
	near, far, err := connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.name, err)
	}
	k.client = &speaker{conn: near, speaks: o.client, stop: make(chan struct{})}
	k.server = &speaker{conn: far, speaks: o.server, stop: make(chan struct{})}
	for _, s := range []*speaker{k.client, k.server} {
		s.running.Go(func() { s.listen(o.network) })
	}
	k.client.say()
	for deadline := time.Now().Add(pace.Scale(5 * time.Second)); k.server.state().heard == 0; {
		if time.Now().After(deadline) {
			k.close()
			return nil, fmt.Errorf("%s: its first word was not heard", k.name)
		}
		time.Sleep(2 * time.Millisecond)
	}
	for _, s := range []*speaker{k.client, k.server} {
		if s.speaks {
			s.running.Go(func() { s.speak(o.interval) })
		}
	}
	return k, nil
}

func speaking(client, server bool) string {
	switch {
	case client && server:
		return "both speak"
	case client:
		return "client speaks"
	default:
		return "server speaks"
	}
}

// connect makes both ends.
func connect(ctx context.Context, o talkOptions) (near, far net.Conn, err error) {
	at, call := netip.AddrPortFrom(o.address, o.port), netip.AddrPortFrom(o.via, o.port)
	if o.network == "udp" {
		c, err := o.to.ListenPacket("udp", at.String())
		if err != nil {
			return nil, nil, err
		}
		near, err = o.from.Dial(ctx, "udp", call.String())
		return near, &answering{PacketConn: c}, err
	}
	listen := func() (net.Listener, error) { return o.to.Listen("tcp", at.String()) }
	dial := func(ctx context.Context) (net.Conn, error) { return o.from.Dial(ctx, "tcp", call.String()) }
	if o.network == "sctp" {
		listen = func() (net.Listener, error) { return o.to.ListenSCTP(at) }
		dial = func(ctx context.Context) (net.Conn, error) { return o.from.DialSCTP(ctx, netip.Addr{}, call) }
	}
	l, err := listen()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(5*time.Second))
	defer cancel()
	if near, err = dial(ctx); err != nil {
		return nil, nil, err
	}
	far, err = l.Accept()
	return near, far, err
}

// answering is a UDP socket that answers who spoke last.
type answering struct {
	net.PacketConn
	peer atomic.Pointer[net.Addr]
}

func (a *answering) Read(p []byte) (int, error) {
	n, from, err := a.ReadFrom(p)
	if err == nil {
		a.peer.Store(&from)
	}
	return n, err
}

func (a *answering) Write(p []byte) (int, error) { return a.WriteTo(p, *a.peer.Load()) }

// RemoteAddr implements net.Conn.
func (a *answering) RemoteAddr() net.Addr { return *a.peer.Load() }

func (s *speaker) say() {
	var word [wordSize]byte
	s.mu.Lock()
	binary.BigEndian.PutUint64(word[:], uint64(s.said))
	s.said++
	s.mu.Unlock()
	_, _ = s.conn.Write(word[:]) // who listens sees what is missing
}

func (s *speaker) speak(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.say()
		}
	}
}

func (s *speaker) listen(network string) {
	word := make([]byte, wordSize)
	for {
		_, err := io.ReadFull(s.conn, word)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.mu.Lock()
		number := int(binary.BigEndian.Uint64(word))
		if err == nil && network != "udp" && number != len(s.heard) {
			err = fmt.Errorf("word %d came in place of %d", number, len(s.heard))
		}
		if err == nil {
			s.heard = append(s.heard, number)
			s.last = time.Now()
		} else if network != "udp" {
			s.err = err
			s.mu.Unlock()
			return
		} // to UDP it is an ICMP error about what was said
		s.mu.Unlock()
	}
}

// missing are the numbers of the words, of so many, that were not heard.
func (s *speaker) missing(said int) (numbers []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number := range said {
		if !slices.Contains(s.heard, number) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// heardState is what a speaker knows.
type heardState struct {
	said, heard int
	last        time.Time
	err         error
}

func (s *speaker) state() heardState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return heardState{s.said, len(s.heard), s.last, s.err}
}

// going says whether each end hears what the other says, beyond what it had heard before.
func (k *talk) going(before [2]heardState) bool {
	now := k.states()
	return (!k.server.speaks || now[0].heard > before[0].heard) && (!k.client.speaks || now[1].heard > before[1].heard)
}

func (k *talk) states() [2]heardState { return [2]heardState{k.client.state(), k.server.state()} }

// last is when a word was last heard by either.
func (k *talk) last() time.Time {
	now := k.states()
	if now[0].last.After(now[1].last) {
		return now[0].last
	}
	return now[1].last
}

// hush has both ends say nothing more.
func (k *talk) hush() {
	close(k.client.stop)
	close(k.server.stop)
}

// lost says what was said and is not heard, of a talk that was hushed. It waits for what is under way.
func (k *talk) lost() error {
	for deadline := time.Now().Add(pace.Scale(3 * time.Second)); ; time.Sleep(5 * time.Millisecond) {
		now := k.states()
		if now[0].said == now[1].heard && now[1].said == now[0].heard {
			return errors.Join(now[0].err, now[1].err)
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("the server heard %d of %d, all but %v, the client %d of %d, all but %v", now[1].heard, now[0].said,
				k.server.missing(now[0].said), now[0].heard, now[1].said, k.client.missing(now[1].said)), now[0].err, now[1].err)
		}
	}
}

func (k *talk) close() {
	_, _ = k.client.conn.Close(), k.server.conn.Close()
}

// talks are several, by the name of their pair.
type talks map[string][]*talk

func (all talks) each(do func(pair string, k *talk)) {
	for pair, some := range all {
		for _, k := range some {
			do(pair, k)
		}
	}
}

// openAll opens talks of every sort between pairs of pods ("a>b"), at once.
func (s *scene) openAll(ctx context.Context, t *testing.T, pairs []string) talks {
	t.Helper()
	all, byName := talks{}, map[string]*lab.Pod{}
	for _, p := range s.Pods() {
		byName[p.Name] = p
	}
	networks := []string{"tcp", "udp"}
	if lab.SCTPSockets() {
		networks = append(networks, "sctp")
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	for _, pair := range pairs {
		from, to := byName[pair[:1]], byName[pair[2:]]
		for _, address := range to.Addresses {
			for _, network := range networks {
				for _, speaks := range [][2]bool{{true, false}, {false, true}, {true, true}} {
					running.Go(func() {
						k, err := openTalk(ctx, talkOptions{
							network: network, from: &from.Host, to: &to.Host, address: address, client: speaks[0], server: speaks[1], interval: talkInterval,
						})
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						defer mu.Unlock()
						all[pair] = append(all[pair], k)
					})
				}
			}
		}
	}
	running.Wait()
	return all
}

// talkInterval is the time between two words.
const talkInterval = 20 * time.Millisecond

// cut is how long after since words of the forbidden pairs were heard at most; of others none may be lost. It ends them all.
func (all talks) cut(ctx context.Context, t *testing.T, since time.Time, forbidden []string) (latest time.Duration) {
	t.Helper()
	pause(ctx, pace.Scale(cutWithin)-time.Since(since))
	before := map[*talk][2]heardState{}
	all.each(func(_ string, k *talk) { before[k] = k.states() })
	pause(ctx, pace.Scale(time.Second))
	all.each(func(pair string, k *talk) {
		isForbidden := contains(forbidden, pair)
		if went := k.going(before[k]); went == isForbidden {
			t.Errorf("%s: it goes on: %v", k.name, went)
		}
		k.hush()
		if isForbidden {
			after := k.last().Sub(since)
			if latest = max(latest, after); after > pace.Scale(cutWithin) {
				t.Errorf("%s: its last word was heard %s after", k.name, after)
			}
		}
	})
	all.each(func(pair string, k *talk) {
		if !contains(forbidden, pair) {
			if err := k.lost(); err != nil {
				t.Errorf("%s: %v", k.name, err)
			}
		}
		k.close()
	})
	return latest
}

// cutWithin is when a forbidden flow has carried its last packet.
const cutWithin = time.Second
