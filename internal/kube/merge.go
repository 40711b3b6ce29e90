package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	apiwatch "k8s.io/apimachinery/pkg/watch"
)

// merge makes one watch of two. It ends with either of them, and with an error of either.
func (s *nodeSource) merge(rows *rowWatch, claims apiwatch.Interface) apiwatch.Interface {
	out, ended := make(chan apiwatch.Event), make(chan struct{})
	merged := apiwatch.NewProxyWatcher(out)
	s.ended = ended
	go func() {
		defer close(ended)
		defer close(out)
		defer func() {
			claims.Stop()
			rows.Stop()
			for range rows.ResultChan() { // Its decoder may be at work yet.
			}
		}()
		s.pass(rows, claims.ResultChan(), func(e apiwatch.Event) bool {
			select {
			case out <- e:
				return true
			case <-merged.StopChan():
				return false
			}
		}, merged.StopChan())
	}()
	return merged
}

// pass hands events on until there are no more, or hand says that nobody wants any. The reflector has one resource version for both: it is
// told of the one that is ahead, by a bookmark, after each event and at the end.
func (s *nodeSource) pass(rows *rowWatch, claims <-chan apiwatch.Event, hand func(apiwatch.Event) bool, stop <-chan struct{}) {
	mark := func() bool {
		m := &seenNode{ObjectMeta: metav1.ObjectMeta{ResourceVersion: later(s.rowsAt, s.claimsAt)}}
		return hand(apiwatch.Event{Type: apiwatch.Bookmark, Object: m})
	}
	for {
		var e apiwatch.Event
		var ok bool
		told, at := true, &s.rowsAt
		select {
		case <-stop:
			s.catchUp(rows)
			return
		case e, ok = <-rows.ResultChan():
		case e, ok = <-claims:
			e, at = readClaim(e, s.nodes.sight), &s.claimsAt
			// From the label's selection: whether a Node is there is for the rows to say.
			told = e.Type != apiwatch.Deleted && e.Type != apiwatch.Bookmark
		}
		if !ok {
			s.catchUp(rows)
			mark()
			return
		}
		if told && !hand(e) || e.Type == apiwatch.Error {
			return
		}
		*at = e.Object.(*seenNode).ResourceVersion
		if !mark() {
			return
		}
	}
}

// catchUp counts the rows that were passed over since the last that was told of. All that were told of have been handed on.
func (s *nodeSource) catchUp(rows *rowWatch) {
	if at := rows.passed(); at != "" {
		s.rowsAt = at
	}
}

// tells says whether a row is handed on: not, where a Node that is known has changed, which most are.
func (s *nodeSource) tells(event apiwatch.EventType, node string) bool {
	if event != apiwatch.Modified {
		return true
	}
	_, bare := s.bare[node]
	return bare || s.nodes.lacks(node)
}

// later is the larger of two resource versions.
func later(a, b string) string {
	if order, err := resourceversion.CompareResourceVersion(a, b); err == nil && order < 0 {
		return b
	}
	return a
}
