package route

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"github.com/warren-mesh/warren/mesh"
)

// await takes events until the wanted ones have been seen, in whichever order.
func await(t *testing.T, events <-chan Event, want ...Event) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for len(want) > 0 {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("closed before %v", want)
			}
			want = slices.DeleteFunc(want, func(w Event) bool { return w == e })
		case <-limit:
			t.Fatalf("no event %v", want)
		}
	}
}

func watch(t *testing.T) <-chan Event {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, err := Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range events { // until it is closed
		}
	})
	return events
}

func TestWatch(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	events := watch(t)
	ip(t, "addr add 192.0.2.1/24 dev warren0")
	await(t, events, Event{Address, "warren0"}, Event{Route, "warren0"}) // its network's route
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	ip(t, "route del unreachable 10.244.0.0/16")
	await(t, events, Event{Kind: Route})
	ip(t, "link set warren0 name warren9 down")
	await(t, events, Event{Link, "warren9"})
	ip(t, "link del warren9")
	await(t, events, Event{Link, "warren9"})
}

// A node's own doings must not wake it: nothing but the last step makes an event.
func TestWatchIsSilentAboutOurOwn(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	lane(t, "wrp0123456789ab")
	events := watch(t)
	if err := r.Set(many(1000)); err != nil {
		t.Fatal(err)
	}
	ip(t, "link set wrp0123456789ab up")
	ip(t, "route add 10.244.0.5/32 dev wrp0123456789ab proto 87")
	ip(t, "route del 10.244.0.5/32 dev wrp0123456789ab proto 87")
	ip(t, "link set warren0 txqueuelen 500")
	for e := range events {
		if e.Link == "prp0123456789ab" { // the other end, which is not hidden
			continue
		}
		if want := (Event{Link, "warren0"}); e != want {
			t.Errorf("event %v, want %v only", e, want)
		}
		break
	}
}

// TestWatchIsSilentAboutOurOwnRemovals: they make no event, and somebody else's of the same route does. The last event of each step is of a
// route by another link, so that all before it have been seen; what the kernel still does to the links themselves may come between.
func TestWatchIsSilentAboutOurOwnRemovals(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	ctx, cancel := context.WithCancel(t.Context())
	events, err := r.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		for range events { // until it is closed
		}
	}()
	pending := func() int {
		r.own.mu.Lock()
		defer r.own.mu.Unlock()
		return len(r.own.pending)
	}
	all := plan()
	for _, routes := range [][]*mesh.Route{all, all[1:], all} {
		if err := r.Set(routes); err != nil {
			t.Fatal(err)
		}
	}
	ip(t, "route add 192.0.2.0/24 dev parren0")
	await(t, events, Event{Route, "parren0"})
	if n := pending(); n != 0 {
		t.Errorf("%d of our own removals were told of and taken for somebody else's", n)
	}
	ip(t, "route del 10.244.1.0/24 dev warren0 proto 87")
	await(t, events, Event{Route, "warren0"})
	if err := r.Set(all[1:]); err != nil { // there is nothing to remove: what is not told is not waited for
		t.Fatal(err)
	}
	if n := pending(); n != 0 {
		t.Errorf("still waiting to be told of %d", n)
	}
}

// TestRemovalsAreToldOnce: as many as there were, and none where nobody listens.
func TestRemovalsAreToldOnce(t *testing.T) {
	var own removals
	p := pfx("10.244.1.0/24")
	own.begin(p)
	if own.told(p) {
		t.Error("a removal before anybody listens is remembered")
	}
	own.listen()
	own.begin(p)
	own.begin(p)
	if diff := cmp.Diff([]bool{true, true, false}, []bool{own.told(p), own.told(p), own.told(p)}); diff != "" {
		t.Errorf("two removals are told of otherwise than twice (-want +got):\n%s", diff)
	}
	own.begin(p)
	own.cancel(p)
	if own.told(p) || (*removals)(nil).told(p) {
		t.Error("a removal that was refused, or of nobody, is one")
	}
}

func TestWatchOverrun(t *testing.T) {
	var messages int
	prepared(t, &messages)
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{ns: ns, in: make(chan Event)}
	socket, err := w.subscribe(netns.None())
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.SetReceiveBufferSize(1, true); err != nil { // the kernel's least
		t.Fatal(err)
	}
	for i := range 20 { // nobody reads yet
		ip(t, fmt.Sprintf("route add 192.0.2.%d dev warren0", i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan Event)
	go w.run(ctx, socket)
	go coalesce(w.in, events)
	await(t, events, Event{Kind: Everything})
	ip(t, "link del warren0")
	await(t, events, Event{Link, "warren0"})
	cancel()
	for range events {
	}
}

func TestWatchLeaksNothing(t *testing.T) {
	inNetNS(t)
	lane(t, "warren0")
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	goroutines, fds := runtime.NumGoroutine(), descriptors()
	for range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		events, err := Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ip(t, "link set warren0 up")
		ip(t, "link set warren0 down") // events that nobody takes
		cancel()
		for range events {
		}
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if n, f := runtime.NumGoroutine(), descriptors(); n > goroutines || f > fds {
		t.Errorf("%d goroutines and %d descriptors, before %d and %d", n, f, goroutines, fds)
	}
}

func TestCoalesce(t *testing.T) {
	in, out := make(chan Event), make(chan Event)
	go coalesce(in, out)
	for range 3 {
		in <- Event{Link, "a"}
		in <- Event{Route, "a"}
	}
	if e := <-out; e != (Event{Link, "a"}) {
		t.Errorf("first event %v", e)
	}
	if e := <-out; e != (Event{Route, "a"}) {
		t.Errorf("second event %v", e)
	}
	close(in)
	if e, ok := <-out; ok {
		t.Errorf("third event %v", e)
	}
}
