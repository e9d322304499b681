package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
)

// bareName is the hidden subcommand that serves the bare server.
const bareName = "bare"

// bareAnswer has the size of a gateway's answer to a push.
var bareAnswer = []byte(`{"id":"msg_01a20316-4a1a-789f-a8cc-53541a34f790","status":"acked","mode":"online","client":"c-00001","created_at":"2026-11-22T11:48:42.138Z"}`)

// floor is the least work that a gateway does: chi handlers that read a request and
// answer it, and a port that answers frames with a goroutine for each connection.
// It looks nothing up, checks nothing and stores nothing. With a log it first
// appends and syncs the data that a gateway would have to keep.
type floor struct {
	log     *appendLog // nil = it keeps nothing
	devices *bareDevices
}

// longestPause is how long a connection of the load may be silent while the other
// side of a comparison has its turn.
const longestPause = 5 * time.Minute

// serveBare serves until ctx ends. It prints its addresses to out in the format of
// `longwire serve`. It keeps its data below dir; "" keeps nothing.
func serveBare(ctx context.Context, out io.Writer, dir string) (err error) {
	s := &floor{devices: newBareDevices()}
	if dir != "" {
		if s.log, err = openAppendLog(dir); err != nil {
			return fmt.Errorf("open the append log: %w", err)
		}
		defer func() { err = errors.Join(err, s.log.close()) }()
	}
	devices, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for bare devices: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		devices.Close()
		return fmt.Errorf("listen for the bare handler: %w", err)
	}
	srv := &http.Server{Handler: s.router(), ReadHeaderTimeout: longestPause, IdleTimeout: longestPause}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	var serving sync.WaitGroup
	serving.Go(func() { s.serveDevices(devices) })
	fmt.Fprintf(out, "  devices     %s\n  HTTP API    http://%s\n", devices.Addr(), ln.Addr())
	err = srv.Serve(ln)
	devices.Close()
	s.devices.hangUp()
	serving.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// router has the measured routes of the API.
func (s *floor) router() http.Handler {
	r := chi.NewRouter()
	push := s.push
	if s.log != nil {
		push = s.keep
	}
	r.Post("/v1/clients/{id}/messages", push)
	r.Post("/v1/messages", s.broadcast)
	r.Post("/v1/messages/bulk", s.bulk)
	r.Post("/post", postCopies)
	return r
}

// push is the least work of a push: a route with a parameter, a body to read, and
// an answer of JSON.
func (s *floor) push(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20)); err != nil || chi.URLParam(r, "id") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(bareAnswer)
}

// keep answers when the body is in the log and synced.
func (s *floor) keep(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || chi.URLParam(r, "id") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if err := s.log.append(body); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(bareAnswer)
}

// bulk writes a frame for each line to the next device, waits for the acks, and
// answers each line.
func (s *floor) bulk(w http.ResponseWriter, r *http.Request) {
	var lines [][]byte
	for in := bufio.NewScanner(r.Body); in.Scan(); {
		lines = append(lines, bytes.Clone(in.Bytes()))
	}
	if err := s.devices.deliver(r.Context(), len(lines), func(i int) []byte { return lines[i] }); err != nil {
		w.WriteHeader(http.StatusGatewayTimeout)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := bufio.NewWriterSize(w, 16<<10)
	for i := range lines {
		fmt.Fprintf(out, `{"line":%d,"status":200,"id":"msg_01a20316-4a1a-789f-a8cc-53541a34f790","state":"acked"}`+"\n", i+1)
	}
	_ = out.Flush()
}

// broadcast writes one frame to every device in turn and waits for the acks.
func (s *floor) broadcast(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n := s.devices.size()
	if err := s.devices.deliver(r.Context(), n, func(int) []byte { return body }); err != nil {
		w.WriteHeader(http.StatusGatewayTimeout)
		return
	}
	fmt.Fprintf(w, `{"counts":{"acked":%d}}`, n)
}
