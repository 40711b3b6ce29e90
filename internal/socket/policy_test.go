package socket

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	path, stop := serve(t, backend{status: Status{Node: "n1"}})
	client := NewClient(path)
	if got, err := client.Explain(t.Context(), Question{"a/b", "c/d", "80"}); err != nil || got.Words != "a/b c/d 80" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := client.ShowPolicy(t.Context(), "a/b"); err != nil || got.Pod != "a/b" || got.Node != "n1" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := client.PreviewPolicy(t.Context()); err != nil || got.Node != "n1" {
		t.Errorf("%+v, %v", got, err)
	}
	for wait, seconds := range map[bool]uint64{false: 0, true: 5} {
		if got, err := client.Drops(t.Context(), 7, wait); err != nil || got.Next != 7 || got.Gone != seconds {
			t.Errorf("wait %t: %+v, %v", wait, got, err)
		}
	}
	for ask, want := range map[string]string{
		"POST explain":       "reading the request: EOF",
		"POST show {":        "reading the request",
		"GET drops":          `after="": want a number`,
		"GET drops?after=-1": `after="-1": want a number`,
		`POST show "` + strings.Repeat("x", 5000): "too large",
	} {
		words := strings.SplitN(ask, " ", 3)
		request, err := http.NewRequestWithContext(t.Context(), words[0], "http://agent/v1/"+words[1], strings.NewReader(strings.Join(words[2:], "")))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %q, want %q", words[1], response.StatusCode, text, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	path, stop = serve(t, backend{err: errors.New("policy is not enforced")})
	if _, err := NewClient(path).Explain(t.Context(), Question{}); err == nil || err.Error() != "the agent could not explain: policy is not enforced" {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
