package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
)

// rowPipe is a stream of rows. What is sent returns once it was read.
type rowPipe struct {
	*io.PipeReader
	w      *io.PipeWriter
	closed atomic.Bool
}

func newRowPipe() *rowPipe {
	r, w := io.Pipe()
	return &rowPipe{PipeReader: r, w: w}
}

func (p *rowPipe) Close() error {
	p.closed.Store(true)
	return p.PipeReader.Close()
}

// send sends one row. The first has the names of the columns.
func (p *rowPipe) send(event apiwatch.EventType, version, name string, columns ...string) {
	table := metav1.Table{ListMeta: metav1.ListMeta{ResourceVersion: version}, Rows: []metav1.TableRow{{Cells: []any{"Ready", name, 1.5}}}}
	for _, column := range columns {
		table.ColumnDefinitions = append(table.ColumnDefinitions, metav1.TableColumnDefinition{Name: column})
	}
	p.encode(event, table)
}

func (p *rowPipe) encode(event apiwatch.EventType, object any) {
	_ = json.NewEncoder(p.w).Encode(map[string]any{"type": event, "object": object}) // fails once nobody reads
}

var nodeColumns = []string{"Status", "Name", "Age"}

func partial(node *corev1.Node) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: node.ObjectMeta}
}

// twoStreams are a source's, of a set that knows n2 with pod CIDRs and n3 without.
type twoStreams struct {
	*nodeSource
	rows   *rowPipe
	claims *apiwatch.FakeWatcher
	// version is the list's.
	version string
	// from are the resource versions that they began at.
	from []string
	fail error
}

func newTwoStreams(t *testing.T) *twoStreams {
	t.Helper()
	n3 := aNode("c", "1")
	n3.Name = "n3"
	listed := []corev1.Node{*aNode("a", "1", "10.244.2.0/24"), *n3}
	two := &twoStreams{nodeSource: &nodeSource{nodes: &nodeSet{ownName: "n1"}, page: 1}, version: "10"}
	two.list = func(context.Context, metav1.ListOptions) (*corev1.NodeList, error) {
		return &corev1.NodeList{ListMeta: metav1.ListMeta{ResourceVersion: two.version}, Items: listed}, nil
	}
	two.watchRows = func(_ context.Context, o metav1.ListOptions) (io.ReadCloser, error) {
		two.rows, two.from = newRowPipe(), []string{o.ResourceVersion}
		return two.rows, nil
	}
	two.watchClaims = func(_ context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
		two.claims, two.from = apiwatch.NewFake(), append(two.from, o.ResourceVersion)
		return two.claims, two.fail
	}
	items, err := two.ListWithContext(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items.(*seenList).Items {
		two.nodes.set(item.(*seenNode))
	}
	return two
}

// watch begins, as the reflector does with the resource version that it was told last.
func (two *twoStreams) watch(t *testing.T, from ...string) apiwatch.Interface {
	t.Helper()
	merged, err := two.WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "99"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(two.from, from) {
		t.Errorf("the watches begin at %v, want %v", two.from, from)
	}
	return merged
}

// wantTold reads what is told, until nothing more comes.
func wantTold(t *testing.T, merged apiwatch.Interface, want ...string) {
	t.Helper()
	var got []string
	for {
		synctest.Wait()
		select {
		case e, ok := <-merged.ResultChan():
			if !ok {
				got = append(got, "end")
				break
			}
			if n, ok := e.Object.(*seenNode); ok {
				got = append(got, string(e.Type)+" "+n.Name+" "+n.ResourceVersion)
			} else {
				got = append(got, string(e.Type)+" "+string(apierrors.ReasonForError(apierrors.FromObject(e.Object))))
			}
			continue
		default:
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		return
	}
}

// TestWhatIsToldOfTwoStreams: events of both, and after each how far the one that is ahead is; of the rows only those of interest.
func TestWhatIsToldOfTwoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := newTwoStreams(t)
		merged := two.watch(t, "10", "10")
		row := func(event apiwatch.EventType, version, name string) func() {
			return func() { two.rows.send(event, version, name) }
		}
		for _, c := range []struct {
			name string
			do   func()
			want []string
		}{
			{"a heartbeat", func() { two.rows.send(apiwatch.Modified, "11", "n2", nodeColumns...) }, nil},
			{"one of a Node without pod CIDRs", row(apiwatch.Modified, "12", "n3"), []string{"MODIFIED n3 12", "BOOKMARK  12"}},
			{"one of a Node that nobody knows", row(apiwatch.Modified, "13", "n4"), []string{"MODIFIED n4 13", "BOOKMARK  13"}},
			{"one of the own Node", row(apiwatch.Modified, "14", "n1"), nil},
			{"a Node that is new", row(apiwatch.Added, "15", "n5"), []string{"ADDED n5 15", "BOOKMARK  15"}},
			{"a Node made anew", func() {
				two.rows.send(apiwatch.Deleted, "16", "n2")
				two.rows.send(apiwatch.Added, "17", "n2")
			}, []string{"DELETED n2 16", "BOOKMARK  16", "ADDED n2 17", "BOOKMARK  17"}},
			{"a claim, late", func() { two.claims.Add(partial(aNode("a", "11"))) }, []string{"ADDED n2 11", "BOOKMARK  17"}},
			{"and again", func() { two.claims.Modify(partial(aNode("a", "18"))) }, []string{"MODIFIED n2 18", "BOOKMARK  18"}},
			{"its label goes", func() { two.claims.Delete(partial(aNode("a", "19"))) }, []string{"BOOKMARK  19"}},
			{"a row's bookmark", row(apiwatch.Bookmark, "20", ""), nil},
			{"a claim's", func() { two.claims.Action(apiwatch.Bookmark, partial(aNode("", "21"))) }, []string{"BOOKMARK  21"}},
			{"a heartbeat at the end", row(apiwatch.Modified, "22", "n2"), nil},
		} {
			go c.do()
			wantTold(t, merged, c.want...)
			if t.Failed() {
				t.Fatal(c.name)
			}
		}
		_ = two.rows.w.Close()
		wantTold(t, merged, "BOOKMARK  22", "end")
		two.watch(t, "22", "21").Stop()
	})
}

// TestTwoStreamsEndAsOne: with either's end, with an error of either, with what cannot be read, and when nobody wants more.
func TestTwoStreamsEndAsOne(t *testing.T) {
	gone := &metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: 410}
	for name, c := range map[string]struct {
		do   func(two *twoStreams)
		want []string
	}{
		"the rows end":            {func(two *twoStreams) { _ = two.rows.w.Close() }, []string{"BOOKMARK  10", "end"}},
		"the rows are torn":       {func(two *twoStreams) { _ = two.rows.w.CloseWithError(io.ErrUnexpectedEOF) }, []string{"BOOKMARK  10", "end"}},
		"the claims end":          {func(two *twoStreams) { two.claims.Stop() }, []string{"BOOKMARK  10", "end"}},
		"an error of the rows":    {func(two *twoStreams) { two.rows.encode(apiwatch.Error, gone) }, []string{"ERROR Expired", "end"}},
		"rows that are no JSON":   {func(two *twoStreams) { _, _ = io.WriteString(two.rows.w, "<html>") }, []string{"ERROR InternalError", "end"}},
		"an error of the claims":  {func(two *twoStreams) { two.claims.Error(gone) }, []string{"ERROR Expired", "end"}},
		"a row without columns":   {func(two *twoStreams) { two.rows.send(apiwatch.Added, "11", "n2") }, []string{"ERROR InternalError", "end"}},
		"a row without a name":    {func(two *twoStreams) { two.rows.send(apiwatch.Added, "11", "n2", "A", "B", "Name") }, []string{"ERROR InternalError", "end"}},
		"a row of fewer columns":  {func(two *twoStreams) { two.rows.send(apiwatch.Added, "11", "n2", "A", "B", "C", "Name") }, []string{"ERROR InternalError", "end"}},
		"a row that is no table":  {func(two *twoStreams) { two.rows.encode(apiwatch.Added, aNode("a", "11")) }, []string{"ERROR InternalError", "end"}},
		"a claim that is a Node":  {func(two *twoStreams) { two.claims.Add(aNode("a", "11")) }, []string{"ERROR InternalError", "end"}},
		"nobody wants more":       {func(two *twoStreams) { two.ended = nil }, nil},
		"nobody wants what there": {func(two *twoStreams) { two.rows.send(apiwatch.Added, "11", "n2", nodeColumns...) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails where a goroutine is left
				two := newTwoStreams(t)
				merged := two.watch(t, "10", "10")
				ended := two.ended
				go c.do(two)
				if c.want != nil {
					wantTold(t, merged, c.want...)
				}
				synctest.Wait()
				merged.Stop()
				<-ended
				if !two.rows.closed.Load() || !two.claims.IsStopped() {
					t.Error("a watch goes on")
				}
			})
		})
	}
}

// TestAListMayNotHaveArrived: its Node without pod CIDRs is one whose rows are of interest, whatever was known of another of that name.
func TestAListMayNotHaveArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := newTwoStreams(t)
		granted := aNode("a", "1", "10.244.3.0/24")
		granted.Name = "n3"
		two.nodes.set(seenWhole(granted))
		merged := two.watch(t, "10", "10")
		go two.rows.send(apiwatch.Modified, "11", "n3", nodeColumns...)
		wantTold(t, merged, "MODIFIED n3 11", "BOOKMARK  11")
		merged.Stop()
	})
}

// TestTwoStreamsBeginTogether: where the second cannot, the first ends; what was not handed on is told again; a list begins anew.
func TestTwoStreamsBeginTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := newTwoStreams(t)
		two.fail = errors.New("on purpose")
		if _, err := two.WatchWithContext(t.Context(), metav1.ListOptions{}); !errors.Is(err, two.fail) || !two.rows.closed.Load() {
			t.Errorf("error %v, and the rows have ended: %v", err, two.rows.closed.Load())
		}
		two.fail = nil
		merged := two.watch(t, "10", "10")
		go two.rows.send(apiwatch.Added, "11", "n5", nodeColumns...)
		synctest.Wait()
		merged.Stop()
		merged = two.watch(t, "10", "10")
		go two.rows.send(apiwatch.Added, "11", "n5", nodeColumns...)
		wantTold(t, merged, "ADDED n5 11", "BOOKMARK  11")
		merged.Stop()
		two.watch(t, "11", "10").Stop()
		two.version = "11"
		if _, err := two.ListWithContext(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		two.watch(t, "11", "11").Stop()
		_, _ = two.nodes.set(aClaim("a", "12"))
		two.version = "5" // the store was restored
		items, err := two.ListWithContext(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if changed, ask := two.nodes.set(items.(*seenList).Items[0].(*seenNode)); !changed || ask {
			t.Errorf("what the restored store has is taken over: %v, and read again: %v", changed, ask)
		}
		two.watch(t, "5", "5").Stop()
	})
}

// TestAListThatIsOld: no watch begins from it, so that the reflector lists anew.
func TestAListThatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := newTwoStreams(t)
		time.Sleep(listEvery)
		two.watch(t, "10", "10").Stop()
		time.Sleep(time.Second)
		if _, err := two.WatchWithContext(t.Context(), metav1.ListOptions{}); !apierrors.IsResourceExpired(err) {
			t.Errorf("error %v, want that the list has expired", err)
		}
		if _, err := two.ListWithContext(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		two.watch(t, "10", "10").Stop()
	})
}
