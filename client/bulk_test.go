package client

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"testing"
)

// bulkServer answers each line as soon as it is read.
func bulkServer(summary bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(200)
		rc.Flush()
		s := bufio.NewScanner(r.Body)
		n := 0
		for s.Scan() {
			n++
			var l pushBody
			json.Unmarshal(s.Bytes(), &l)
			if l.To.Client == "ghost" {
				fmt.Fprintf(w, `{"line":%d,"key":%q,"status":404,"problem":{"type":"/docs/problems/client-not-found","title":"No such client","status":404}}`+"\n", n, l.Key)
			} else {
				fmt.Fprintf(w, `{"line":%d,"key":%q,"status":202,"id":"msg_%d"}`+"\n", n, l.Key, n)
			}
			rc.Flush()
		}
		if summary {
			fmt.Fprintf(w, `{"done":true,"accepted":%d,"failed":0}`+"\n", n)
		}
	}
}

func items(ids ...string) iter.Seq[BulkItem] {
	return func(yield func(BulkItem) bool) {
		for _, id := range ids {
			if !yield(BulkItem{To: Audience{Client: id}, Push: Push{Payload: Text("x")}}) {
				return
			}
		}
	}
}

func TestBulk(t *testing.T) {
	c := serve(t, bulkServer(true))
	var got []BulkResult
	for r, err := range c.Bulk(t.Context(), items("a", "ghost", "b")) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != 3 || got[0].ID != "msg_1" || got[0].Key == "" || got[1].Problem.Code() != CodeClientNotFound || got[2].Line != 3 {
		t.Errorf("results = %+v", got)
	}
}

// The next item is made only when the result of the one before has come, so
// both directions must stream.
func TestBulkStreams(t *testing.T) {
	c := serve(t, bulkServer(true))
	answered := make(chan string, 1)
	dialogue := func(yield func(BulkItem) bool) {
		for _, id := range []string{"a", "b", "c"} {
			if !yield(BulkItem{To: Audience{Client: id}, Push: Push{Payload: Text("x"), IdempotencyKey: "k-" + id}}) {
				return
			}
			if got, want := <-answered, "k-"+id; got != want {
				t.Errorf("answer to %q, want %q", got, want)
			}
		}
	}
	for r, err := range c.Bulk(t.Context(), dialogue) {
		if err != nil {
			t.Fatal(err)
		}
		answered <- r.Key
	}
}

func TestBulkTellsACutAnswer(t *testing.T) {
	c := serve(t, bulkServer(false))
	var last error
	n := 0
	for _, err := range c.Bulk(t.Context(), items("a", "b")) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 2 || !errors.Is(last, ErrBulkCut) {
		t.Errorf("%d results, then %v; want 2, then %v", n, last, ErrBulkCut)
	}
}

func TestBulkEndsWithTheCaller(t *testing.T) {
	c := serve(t, bulkServer(true))
	ended := false
	endless := func(yield func(BulkItem) bool) {
		defer func() { ended = true }() // read after Bulk: it waits for this goroutine
		for yield(BulkItem{To: Audience{All: true}, Push: Push{Payload: Text("x")}}) {
		}
	}
	for range c.Bulk(t.Context(), endless) {
		break
	}
	if !ended {
		t.Error("the source of items is still being read")
	}
}

func TestBulkNamesABadItem(t *testing.T) {
	c := serve(t, bulkServer(true))
	bad := slices.Values([]BulkItem{{To: Audience{All: true}}})
	var last error
	for _, err := range c.Bulk(t.Context(), bad) {
		last = err
	}
	if last == nil || last.Error() != "bulk item 1: push: no payload; use Text, JSON or Bytes" {
		t.Errorf("error = %v", last)
	}
}

func TestBulkRefused(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		answer(w, 503, `{"type":"/docs/problems/store-unavailable","title":"Store unavailable","status":503}`)
	})
	var last error
	for _, err := range c.Bulk(t.Context(), items("a")) {
		last = err
	}
	if p, ok := errors.AsType[*Problem](last); !ok || p.Code() != CodeUnavailable {
		t.Errorf("error = %v", last)
	}
}

func TestBulkTellsWhyTheRestWasNotRead(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"line":1,"status":202,"id":"msg_1"}`+"\n"+
			`{"done":false,"lines":1,"accepted":1,"failed":0,"problem":{"type":"/docs/problems/payload-too-large","title":"Too large","status":413,"limit":1}}`+"\n")
	})
	var last error
	for _, err := range c.Bulk(t.Context(), items("a", "b")) {
		last = err
	}
	if p, ok := errors.AsType[*Problem](last); !ok || p.Code() != CodePayloadTooLarge || p.Limit != 1 {
		t.Errorf("error = %v", last)
	}
}
