package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

type countingRecorder struct{}

func (c *countingRecorder) Request(string, string, int, time.Duration) {}
func (c *countingRecorder) Expect(string, string, int)                 {}

// BenchmarkHTTP compares pushes with a bare chi handler, over loopback with
// keep-alive connections. Devices are in memory, so that what is measured is
// HTTP and this package; keys, validation and request recording are on.
//
//	go test -run '^$' -bench HTTP ./api
func BenchmarkHTTP(b *testing.B) {
	store := memstore.New(memstore.Options{})
	b.Cleanup(func() { store.Close() })
	g := gatewaytest.New(b, store, gateway.Config{})
	gatewaytest.Connect(b, g, "demo", gatewaytest.Options{Window: 256})
	full := NewServer(Config{Gateway: g, Authorizer: APIKeys("lwk_bench"), Recorder: new(countingRecorder),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}).Handler

	bare := chi.NewRouter()
	bare.Post("/v1/clients/{id}/messages", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id":"`+chi.URLParam(r, "id")+`","ok":true}`)
	})
	for _, run := range []struct {
		name, query string
		handler     http.Handler
	}{{"chi", "", bare}, {"online", "?mode=online", full}, {"durable", "", full}, {"wait", "?wait=5s", full}} {
		b.Run(run.name, func(b *testing.B) { benchmarkPosts(b, run.handler, "/v1/clients/demo/messages"+run.query) })
	}
}

func benchmarkPosts(b *testing.B, h http.Handler, target string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute}
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	body := `{"text":"` + strings.Repeat("x", 64) + `"}`
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer lwk_bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for pb.Next() {
			io.WriteString(conn, request)
			if status := skipAnswer(b, answers); status != "200" && status != "202" {
				b.Errorf("status %s", status)
				return
			}
		}
	})
}

// BenchmarkBulk tells the cost of one line of a bulk request, its ack waited
// for, to hold against BenchmarkHTTP/wait.
func BenchmarkBulk(b *testing.B) {
	store := memstore.New(memstore.Options{})
	b.Cleanup(func() { store.Close() })
	g := gatewaytest.New(b, store, gateway.Config{})
	const clients, perRequest = 100, 1000
	for i := range clients {
		gatewaytest.Connect(b, g, gateway.ClientID(fmt.Sprint("c", i)), gatewaytest.Options{Window: 256})
	}
	var body bytes.Buffer
	for i := range perRequest {
		fmt.Fprintf(&body, `{"to":{"client":"c%d"},"text":"%s"}`+"\n", i%clients, strings.Repeat("x", 64))
	}
	srv := httptest.NewServer(New(Config{Gateway: g}))
	b.Cleanup(srv.Close)
	b.ReportAllocs()
	for done := 0; done < b.N; done += perRequest {
		resp, err := http.Post(srv.URL+"/v1/messages/bulk?wait=10s", ndjson, bytes.NewReader(body.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Contains(data, []byte(`"accepted":1000,"failed":0}`)) {
			b.Fatalf("%v: %s", err, data[max(0, len(data)-200):])
		}
	}
}

// skipAnswer reads one answer of known length without allocating for it.
func skipAnswer(b *testing.B, r *bufio.Reader) (status string) {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			b.Error(err)
			return ""
		}
		switch {
		case first:
			status = string(line[9:12])
		case len(line) == 2:
			r.Discard(length)
			return status
		default:
			if n, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("Content-Length: ")); ok {
				length, _ = strconv.Atoi(string(n))
			}
		}
	}
}
