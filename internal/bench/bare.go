package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

// bareName is the hidden subcommand that serves the bare handler.
const bareName = "bare"

// bareAnswer has the size of a gateway's answer to a push.
var bareAnswer = []byte(`{"id":"msg_01a20316-4a1a-789f-a8cc-53541a34f790","status":"acked","mode":"online","client":"c-00001","created_at":"2026-11-22T11:48:42.138Z"}`)

// bareRouter is the least that a push can be: a route with a parameter, a body that
// is read, an answer of JSON.
func bareRouter() http.Handler {
	r := chi.NewRouter()
	r.Post("/v1/clients/{id}/messages", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20)); err != nil || chi.URLParam(r, "id") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bareAnswer)
	})
	return r
}

// serveBare serves until ctx ends and tells on out where, in the words of
// `longwire serve`.
func serveBare(ctx context.Context, out io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the bare handler: %w", err)
	}
	srv := &http.Server{Handler: bareRouter(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	fmt.Fprintf(out, "  HTTP API    http://%s\n", ln.Addr())
	if err := srv.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}
