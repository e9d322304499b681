package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// reluctant takes an answer when it is told to.
type reluctant struct {
	*httptest.ResponseRecorder
	asked chan time.Time // the deadline by which the answer is to be taken
	take  chan struct{}
}

func (w *reluctant) SetWriteDeadline(t time.Time) error {
	w.asked <- t
	return nil
}

func (w *reluctant) FlushError() error {
	<-w.take
	return nil
}

// Refusals that wait to be taken over HTTP/2 are bounded in number and in time;
// whoever has a key is not among them.
func TestStrangersAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxRequests = 1 })
	slow := &reluctant{newRecorder(), make(chan time.Time, 1), make(chan struct{})}
	ask := func(to http.ResponseWriter, key string) (cut any) {
		defer func() { cut = recover() }()
		r := newRequest(t.Context(), "GET", "/v1/clients", "")
		r.ProtoMajor = 2
		r.Header.Set("Authorization", "Bearer "+key)
		w.handler.ServeHTTP(to, r)
		return nil
	}
	ended := make(chan any)
	go func() { ended <- ask(slow, "lwk_wrong") }()
	if left := time.Until(<-slow.asked); left > releaseTime {
		t.Errorf("an unauthenticated caller has %v to take the answer, want %v at most", left, releaseTime)
	}
	if got := ask(newRecorder(), w.secrets["unlimited"]); got != http.ErrAbortHandler {
		t.Errorf("one too many: %v, want it cut off", got)
	}
	close(slow.take)
	if cut := <-ended; cut != nil || slow.Code != 401 {
		t.Errorf("the one that waited: %v %d, want 401", cut, slow.Code)
	}
	known := &reluctant{newRecorder(), make(chan time.Time, 1), slow.take}
	if cut := ask(known, w.secrets["unlimited"]); cut != nil || known.Code != 200 || len(known.asked) > 0 {
		t.Errorf("with a key: %v %d, want 200, and no wait", cut, known.Code)
	}
}
