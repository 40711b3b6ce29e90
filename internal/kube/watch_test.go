package kube

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestJudge: what will not go away ends the waiting, and what an API server answers while it starts does not.
func TestJudge(t *testing.T) {
	resource := schema.GroupResource{Group: "warren.dev", Resource: "ippools"}
	missing, forbidden := apierrors.NewNotFound(resource, ""), apierrors.NewForbidden(resource, "", errors.New("no role"))
	away := errors.New("connection refused")
	start := time.Unix(1e9, 0)
	for name, c := range map[string]struct {
		unserved error
		errs     []error // one a minute
		want     error
	}{
		"not served":                         {ErrNoPools, []error{away, missing}, ErrNoPools},
		"not served, which cannot be":        {nil, []error{missing}, nil},
		"refused once":                       {ErrNoPools, []error{forbidden}, nil},
		"refused, away, and refused":         {ErrNoPools, []error{forbidden, away, forbidden}, nil},
		"refused for a while":                {ErrNoPools, []error{away, forbidden, forbidden}, ErrDenied},
		"refused what every server may have": {nil, []error{forbidden, forbidden}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watch{unserved: c.unserved, hopeless: make(chan struct{})}
			for i, err := range c.errs {
				w.judge(err, start.Add(time.Duration(i)*time.Minute))
			}
			select {
			case <-w.hopeless:
				if !errors.Is(w.reason, c.want) || errors.Is(c.want, ErrDenied) && !strings.Contains(w.reason.Error(), "no role") {
					t.Errorf("it is hopeless: %v, want %v", w.reason, c.want)
				}
			default:
				if c.want != nil {
					t.Errorf("it waits, want %v", c.want)
				}
			}
			if !errors.Is(w.lastErr, c.errs[len(c.errs)-1]) {
				t.Errorf("the last error is %v", w.lastErr)
			}
		})
	}
}
