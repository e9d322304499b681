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
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
)

// bareName is the hidden subcommand that serves the bare server.
const bareName = "bare"

// bareAnswer has the size of a gateway's answer to a push.
var bareAnswer = []byte(`{"id":"msg_01a20316-4a1a-789f-a8cc-53541a34f790","status":"acked","mode":"online","client":"c-00001","created_at":"2026-11-22T11:48:42.138Z"}`)

// bareWelcome is a REGISTER_ACK of the usual size.
var bareWelcome = appendFrame(nil, frameRegisterAck, 0, []byte(`{"session":"ses_01a20316-4a1a-789f-a8cc-53541a34f790",`+
	`"log":"01a20316-4a1a-789f-a8cc-53541a34f790","resumed":true,"heartbeat_ms":3600000,"grace_ms":2000,"window":256,"max_payload":262144}`))

// floor is the least work that a gateway does: chi handlers that read a request and
// answer it, and a port that answers frames with a goroutine for each connection.
// It looks nothing up, checks nothing and stores nothing. With a log it first
// appends and syncs the data that a gateway would have to keep.
type floor struct {
	log *appendLog // nil = it keeps nothing

	mu    sync.Mutex
	conns map[*wire]struct{} // of devices

	delivering sync.Mutex // one delivery at a time
	current    atomic.Pointer[delivery]
}

// delivery waits for the acks of its frames. Acks repeat its number, so that those of an
// earlier, abandoned delivery do not count.
type delivery struct {
	number  byte // 1 to 127
	missing atomic.Int64
	acked   chan struct{} // closed when nothing is missing
}

// longestPause is how long a connection of the load may be silent while the other
// side of a comparison has its turn.
const longestPause = 5 * time.Minute

// serveBare serves until ctx ends. It prints its addresses to out in the format of
// `longwire serve`. It keeps its data below dir; "" keeps nothing.
func serveBare(ctx context.Context, out io.Writer, dir string) (err error) {
	f := &floor{conns: make(map[*wire]struct{})}
	if dir != "" {
		if f.log, err = openAppendLog(dir); err != nil {
			return fmt.Errorf("open the append log: %w", err)
		}
		defer func() { err = errors.Join(err, f.log.close()) }()
	}
	devices, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for bare devices: %w", err)
	}
	defer devices.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the bare handler: %w", err)
	}
	fmt.Fprintf(out, "  devices     %s\n  HTTP API    http://%s\n", devices.Addr(), ln.Addr())
	var serving sync.WaitGroup
	serving.Go(func() { f.serveDevices(devices) })
	err = serveHTTP(ctx, ln, patientServer(f.router()))
	devices.Close()
	f.hangUp()
	serving.Wait()
	return err
}

// patientServer is an HTTP server that keeps silent connections.
func patientServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: longestPause, IdleTimeout: longestPause}
}

// httpServer is an http.Server, or that of the API.
type httpServer interface {
	Serve(net.Listener) error
	Close() error
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, ln net.Listener, srv httpServer) error {
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// router has the measured routes of the API.
func (f *floor) router() http.Handler {
	r := chi.NewRouter()
	r.Post("/v1/clients/{id}/messages", f.push)
	r.Post("/v1/messages", f.broadcast)
	r.Post("/v1/messages/bulk", f.bulk)
	r.Post("/post", postCopies)
	return r
}

// push is the least work of a push: a route with a parameter, a body to read and
// with a log to keep, and an answer of JSON.
func (f *floor) push(w http.ResponseWriter, r *http.Request) {
	body := http.MaxBytesReader(w, r.Body, 1<<20)
	err := error(nil)
	if f.log == nil {
		_, err = io.Copy(io.Discard, body)
	} else if b, failed := io.ReadAll(body); failed != nil {
		err = failed
	} else {
		err = f.log.append(b)
	}
	if err != nil || chi.URLParam(r, "id") == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(bareAnswer)
}

// bulk writes a frame for each line to a device, waits for the acks, and
// answers each line.
func (f *floor) bulk(w http.ResponseWriter, r *http.Request) {
	var lines [][]byte
	for in := bufio.NewScanner(r.Body); in.Scan(); {
		lines = append(lines, bytes.Clone(in.Bytes()))
	}
	if err := f.deliver(r.Context(), len(lines), func(i int) []byte { return lines[i] }); err != nil {
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

// broadcast writes one frame to every device and waits for the acks.
func (f *floor) broadcast(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	f.mu.Lock()
	n := len(f.conns)
	f.mu.Unlock()
	if err == nil {
		err = f.deliver(r.Context(), n, func(int) []byte { return body })
	}
	if err != nil {
		w.WriteHeader(http.StatusGatewayTimeout)
		return
	}
	fmt.Fprintf(w, `{"counts":{"acked":%d}}`, n)
}

// deliver writes n payloads to devices, in turn if they are fewer, and waits for as many acks.
func (f *floor) deliver(ctx context.Context, n int, payload func(int) []byte) error {
	f.delivering.Lock()
	defer f.delivering.Unlock()
	conns := f.take(n)
	if len(conns) == 0 {
		return errors.New("no device is connected")
	}
	d := &delivery{number: 1, acked: make(chan struct{})}
	if last := f.current.Load(); last != nil {
		d.number = last.number%127 + 1
	}
	d.missing.Store(int64(n))
	f.current.Store(d)
	var frame []byte
	for i := range n {
		frame = appendData(frame[:0], uint64(d.number), payload(i))
		if _, err := conns[i%len(conns)].Write(frame); err != nil {
			return err
		}
	}
	select {
	case <-d.acked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take returns n connections in some order, or all of them if they are fewer.
func (f *floor) take(n int) []*wire {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := make([]*wire, 0, n)
	for conn := range f.conns {
		if len(taken) == n {
			break
		}
		taken = append(taken, conn)
	}
	return taken
}

// hangUp closes all connections.
func (f *floor) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		conn.Close()
	}
}

// serveDevices accepts until the listener is closed and waits for its connections.
func (f *floor) serveDevices(ln net.Listener) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		serving.Go(func() { f.serveDevice(conn) }) // ends when the connection is closed
	}
}

// serveDevice answers frames. It holds one small buffer for each connection.
func (f *floor) serveDevice(conn net.Conn) {
	w := newWire(conn)
	f.mu.Lock()
	f.conns[w] = struct{}{}
	f.mu.Unlock()
	_ = w.each(func(got frame) error { return f.answer(w, got) })
	f.mu.Lock()
	delete(f.conns, w)
	f.mu.Unlock()
	conn.Close()
}

func (f *floor) answer(w *wire, got frame) (err error) {
	switch got.kind {
	case frameRegister:
		_, err = w.Write(bareWelcome)
	case frameHeartbeat:
		w.out = append(w.out, heartbeatAckFrame...)
	case frameAck:
		d := f.current.Load()
		if d != nil && bytes.HasPrefix(got.body, []byte{d.number}) && d.missing.Add(-1) == 0 {
			close(d.acked)
		}
	case frameData:
		if f.log != nil {
			err = f.log.append(got.body)
		}
		if err == nil {
			w.out, err = appendAck(w.out, got)
		}
	}
	return err
}

// postCopies is the least work of a webhook: requests with a given body, hookCallers
// at a time.
func postCopies(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	n, wrong := strconv.Atoi(r.URL.Query().Get("n"))
	if err = errors.Join(err, wrong); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	transport := &http.Transport{MaxIdleConnsPerHost: hookCallers, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client, to := &http.Client{Transport: transport}, r.URL.Query().Get("url")
	err = inParallel(hookCallers, n, func(int) error {
		res, err := client.Post(to, "application/cloudevents+json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			return fmt.Errorf("status %d instead of 204", res.StatusCode)
		}
		_, err = io.Copy(io.Discard, res.Body)
		return err
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
