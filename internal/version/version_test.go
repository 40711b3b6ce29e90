package version

import (
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	if got := String(); got != "devel" && !strings.HasPrefix(got, "devel-") {
		t.Errorf("without a tag it is %q", got)
	}
	tag = "v1.2.3"
	defer func() { tag = "" }()
	if got := String(); got != "v1.2.3" {
		t.Errorf("with a tag it is %q", got)
	}
}
