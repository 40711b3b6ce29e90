package kube

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCutNote(t *testing.T) {
	for _, note := range []string{"", "short", "bad \xff byte", strings.Repeat("a", 5000), "x" + strings.Repeat("é", 5000)} {
		got := cutNote(note)
		if len(got) > maxNoteBytes || !utf8.ValidString(got) {
			t.Errorf("%.20q... of %d bytes: %d bytes, valid UTF-8: %v", note, len(note), len(got), utf8.ValidString(got))
		}
		if len(note) > maxNoteBytes && !strings.HasSuffix(got, "...") {
			t.Errorf("%.20q... of %d bytes: cut without a sign of it", note, len(note))
		}
	}
	if got := cutNote("short"); got != "short" {
		t.Errorf("got %q", got)
	}
}
