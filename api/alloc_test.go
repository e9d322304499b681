//go:build !race

package api

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// reusedRequest is a request and an answer that can be had again without
// memory, so that what is counted is the handler's own.
type reusedRequest struct {
	request *http.Request
	body    *bytes.Reader
	data    []byte
	header  http.Header
	status  int
	size    int
}

func newReusedRequest(target, body string) *reusedRequest {
	r := &reusedRequest{data: []byte(body), body: bytes.NewReader(nil), header: make(http.Header)}
	r.request = httptest.NewRequest("POST", "http://localhost"+target, nil)
	r.request.Header.Set("Content-Type", "application/json")
	r.request.Header.Set("Authorization", "Bearer lwk_bench")
	r.request.Body, r.request.ContentLength = io.NopCloser(r.body), int64(len(body))
	return r
}

func (r *reusedRequest) Header() http.Header { return r.header }
func (r *reusedRequest) WriteHeader(s int)   { r.status = s }
func (r *reusedRequest) Write(b []byte) (int, error) {
	r.size += len(b)
	return len(b), nil
}

func (r *reusedRequest) send(h http.Handler) {
	clear(r.header)
	r.body.Reset(r.data)
	r.status, r.size = 0, 0
	h.ServeHTTP(r, r.request)
}

// allocations counts those of one request, the device's answer included.
func allocations(t *testing.T, h http.Handler, target, body string, want int) float64 {
	t.Helper()
	r := newReusedRequest(target, body)
	for range 300 {
		r.send(h)
		if r.status != want || r.size == 0 {
			t.Fatalf("%s: status %d, want %d", target, r.status, want)
		}
	}
	least := math.Inf(1) // a collection on a busy machine empties the pools in between
	for range 10 {
		least = min(least, testing.AllocsPerRun(100, func() { r.send(h) }))
	}
	return least
}

// The bounds are what it takes today and two more: routing, the request's own
// record and its id, the decoded push and its payload, the message's id, three
// times, and what a gatewaytest.Link keeps. The in-memory store of a durable
// push takes the rest of that. What net/http takes is not in it.
func TestPushAllocations(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	gatewaytest.Connect(t, g, "demo", gatewaytest.Options{Window: 256})
	h := New(Config{Gateway: g, Authorizer: APIKeys("lwk_bench"), Recorder: new(countingRecorder)})
	payload := strings.Repeat("x", 64)
	for _, tc := range []struct {
		target, body string
		status       int
		most         float64
	}{
		{"/v1/clients/demo/messages", fmt.Sprintf(`{"text":"%s","mode":"online"}`, payload), 200, 18},
		{"/v1/clients/demo/messages", fmt.Sprintf(`{"text":"%s"}`, payload), 202, 24},
		{"/v1/messages", fmt.Sprintf(`{"to":{"client":"demo"},"text":"%s","mode":"online"}`, payload), 200, 17},
	} {
		if got := allocations(t, h, tc.target, tc.body, tc.status); got > tc.most {
			t.Errorf("POST %s %.40s… takes %v allocations, want at most %v", tc.target, tc.body, got, tc.most)
		}
	}
}
