package kube

import (
	"net/http"
	"sync"
)

// lastFailure is a transport that remembers why the last request got no answer. Informers pass over a refused
// connection without a word, and then nobody would know why they do not sync.
type lastFailure struct {
	mu  sync.Mutex // guards err
	err error
}

// wrap is for rest.Config.Wrap.
func (f *lastFailure) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		return response, err
	})
}

// get is nil where the last request was answered, whatever the answer.
func (f *lastFailure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
