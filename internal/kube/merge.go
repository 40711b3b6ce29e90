package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	apiwatch "k8s.io/apimachinery/pkg/watch"
)

// merge makes one watch of two. It ends with either of them, and with an error of either.
func (s *nodeSource) merge(rows, claims apiwatch.Interface) apiwatch.Interface {
	out, ended := make(chan apiwatch.Event), make(chan struct{})
	merged := apiwatch.NewProxyWatcher(out)
	s.ended = ended
	go func() {
		defer close(ended)
		defer close(out)
		defer rows.Stop()
		defer claims.Stop()
		s.pass(rows.ResultChan(), claims.ResultChan(), func(e apiwatch.Event) bool {
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

// pass hands events on until there are no more, or hand says that nobody wants any. After each it tells, by a bookmark, how far the one
// that is ahead has come: the reflector has one resource version for both.
func (s *nodeSource) pass(rows, claims <-chan apiwatch.Event, hand func(apiwatch.Event) bool, stop <-chan struct{}) {
	var reader rowReader
	for {
		var e apiwatch.Event
		var ok, told bool
		var at *string
		select {
		case <-stop:
			return
		case e, ok = <-rows:
			e, at = reader.read(e), &s.rowsAt
			told = s.tells(e)
		case e, ok = <-claims:
			e, at = readClaim(e), &s.claimsAt
			told = e.Type != apiwatch.Deleted // from the label's selection: whether a Node is there is for the rows to say
		}
		switch {
		case !ok, told && e.Type != apiwatch.Bookmark && !hand(e), e.Type == apiwatch.Error:
			return
		}
		*at = e.Object.(*seenNode).ResourceVersion
		mark := &seenNode{ObjectMeta: metav1.ObjectMeta{ResourceVersion: later(s.rowsAt, s.claimsAt)}}
		if !hand(apiwatch.Event{Type: apiwatch.Bookmark, Object: mark}) {
			return
		}
	}
}

// tells says whether a row is handed on: not, where a Node that is known has changed, which most are.
func (s *nodeSource) tells(e apiwatch.Event) bool {
	row, ok := e.Object.(*seenNode)
	if !ok || e.Type != apiwatch.Modified {
		return true
	}
	_, bare := s.bare[row.Name]
	return bare || s.nodes.lacks(row.Name)
}

// later is the larger of two resource versions.
func later(a, b string) string {
	if order, err := resourceversion.CompareResourceVersion(a, b); err == nil && order < 0 {
		return b
	}
	return a
}
