package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

const ndjson = "application/x-ndjson"

// bulk sends lines and returns the answers and the closing summary.
func (h *harness) bulk(target, body string) ([]BulkResult, BulkSummary) {
	h.t.Helper()
	a := h.call("POST", target, body, "Content-Type", ndjson).want(200)
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	var results []BulkResult
	for _, line := range lines[:len(lines)-1] {
		results = append(results, decode[BulkResult](answer{t: h.t, body: []byte(line)}))
	}
	return results, decode[BulkSummary](answer{t: h.t, body: []byte(lines[len(lines)-1])})
}

func TestBulkAnswersEachLineInOrder(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	h.known("b")
	results, summary := h.bulk("/v1/messages/bulk", strings.Join([]string{
		`{"to":{"client":"a"},"text":"1","key":"row-1"}`,
		`{"to":{"client":"ghost"},"text":"2","key":"row-2"}`,
		``,
		`not json`,
		`{"to":{"client":"b"},"text":"3","txet":1}`,
		`{"to":{"all":true},"text":"4"}`,
		`{"to":{"client":"a"},"text":"1","key":"row-1"}`,
		`  {"to":{"client":"b"},"json":{"n":1}}`,
	}, "\n"))
	want := []string{"1 row-1 202 queued", "2 row-2 404 ", "4  400 ", "5  400 ", "6  202 pending", "7 row-1 202 queued", "8  202 queued"}
	var got []string
	for _, r := range results {
		got = append(got, fmt.Sprintf("%d %s %d %s", r.Line, r.Key, r.Status, r.State))
		if (r.Problem != nil) != (r.ID == "") {
			t.Errorf("line %d: %+v, want an id or a problem", r.Line, r)
		}
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if !results[5].Replayed || results[5].ID != results[0].ID {
		t.Errorf("repeated key: %+v, want the first line's message", results[5])
	}
	if results[3].Problem.Errors[0].Pointer != "/txet" {
		t.Errorf("line 5: %+v, want the member named", results[3].Problem)
	}
	if !summary.Done || summary.Lines != 7 || summary.Accepted != 4 || summary.Failed != 3 {
		t.Errorf("summary %+v, want 4 accepted and 3 failed of 7", summary)
	}
}

// JSON knows four kinds of space (RFC 8259, section 2), and a single push takes no other.
func TestSpaceAroundABulkLineIsThatOfJSON(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	const line = `{"to":{"client":"a"},"text":"x"}`
	for space, want := range map[string]int{"\t \r": 202, "\u00a0": 400, "\u0085": 400, "\v": 400, "\f": 400} {
		for _, text := range []string{space + line, line + space} {
			results, _ := h.bulk("/v1/messages/bulk", text+"\n")
			if len(results) != 1 || results[0].Status != want {
				t.Errorf("%q: %+v, want %d", text, results, want)
			}
		}
	}
}

func TestBulkKeepsOrderPerClient(t *testing.T) {
	h := newHarness(t)
	links := make([]*gatewaytest.Link, 5)
	for i := range links {
		links[i] = h.device(gateway.ClientID(fmt.Sprintf("c%d", i)), gatewaytest.Options{Window: 256})
	}
	var body bytes.Buffer
	const rounds = 300
	for n := range rounds {
		for i := range links {
			fmt.Fprintf(&body, `{"to":{"client":"c%d"},"text":"%d"}`+"\n", i, n)
		}
		if n%50 == 0 {
			body.WriteString(`{"to":{"all":true},"text":"all"}` + "\n")
		}
	}
	results, summary := h.bulk("/v1/messages/bulk?wait=20s", body.String())
	if summary.Failed != 0 || summary.Accepted != rounds*len(links)+rounds/50 {
		t.Fatalf("summary %+v, want all accepted", summary)
	}
	for _, r := range results {
		if r.Status != 200 || r.State != "acked" && r.State != "completed" {
			t.Fatalf("line %d: %+v, want its final state", r.Line, r)
		}
	}
	for i, l := range links {
		n := 0
		for _, p := range l.Transmissions() {
			switch string(p.Payload) {
			case "all":
				if n%50 != 1 && n%50 != 0 {
					t.Errorf("c%d: the message to all came after %d of its own, want beside a multiple of 50", i, n)
				}
			case fmt.Sprint(n):
				n++
			default:
				t.Fatalf("c%d got %q, want %d", i, p.Payload, n)
			}
		}
		if n != rounds {
			t.Errorf("c%d got %d, want %d", i, n, rounds)
		}
	}
}

func TestBulkOnlineLines(t *testing.T) {
	h := newHarness(t)
	h.device("on", answering(gateway.AckOK, "ok"))
	h.known("off")
	results, _ := h.bulk("/v1/messages/bulk", `{"to":{"client":"on"},"text":"x","mode":"online"}
{"to":{"client":"off"},"text":"x","mode":"online"}
{"to":{"client":"on"},"text":"x","mode":"online","key":"k"}`)
	if r := results[0]; r.Status != 200 || r.State != "acked" || text(r.Result) != "ok" {
		t.Errorf("online: %+v, want acked", r)
	}
	if r := results[1]; r.Status != 409 || r.Problem.Type != problem.Path+"client-offline" {
		t.Errorf("offline: %+v, want 409", r)
	}
	if r := results[2]; r.Status != 422 {
		t.Errorf("with a key: %+v, want 422", r)
	}
}

// TestBulkRefusesOneKeyForAllLines: without it a repeat would push every line again.
func TestBulkRefusesOneKeyForAllLines(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	p := h.call("POST", "/v1/messages/bulk", `{"to":{"client":"b"},"text":"x"}`, "Content-Type", "application/x-ndjson", "Idempotency-Key", "k").wantProblem(400, problem.InvalidParameter)
	if len(p.Errors) != 1 || p.Errors[0].Parameter != "Idempotency-Key" {
		t.Errorf("errors %+v, want Idempotency-Key named", p.Errors)
	}
}

func TestBulkBounds(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxBody, c.MaxBulkLines = 200, 3 })
	h.known("a")
	ok := `{"to":{"client":"a"},"text":"x"}` + "\n"
	results, summary := h.bulk("/v1/messages/bulk", ok+`{"to":{"client":"a"},"text":"`+strings.Repeat("x", 100_000)+"\"}\n"+ok+ok+ok)
	if len(results) != 3 || results[1].Status != 413 || results[2].Status != 202 {
		t.Errorf("got %+v, want the long line refused and the next one taken", results)
	}
	if summary.Done || summary.Problem == nil || summary.Problem.Limit != 3 {
		t.Errorf("summary %+v, want not done because of the line limit", summary)
	}
	results, summary = h.bulk("/v1/messages/bulk", strings.Repeat(strings.Repeat("x", 100_000)+"\n", 5))
	if len(results) != 3 || summary.Problem == nil || summary.Problem.Limit != 3 {
		t.Errorf("of 5 long lines %d were answered, summary %+v, want 3", len(results), summary)
	}
}

// serve runs the API behind a real listener with the server's own limits.
func (h *harness) serve(cfg Config) string {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	srv := NewServer(cfg)
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	h.t.Cleanup(func() { srv.Close(); <-done })
	return "http://" + l.Addr().String()
}

// TestBulkAnswersWhileTheBodyIsSent: a line is answered before the next is sent.
func TestBulkAnswersWhileTheBodyIsSent(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	url := h.serve(Config{Gateway: h.gateway})
	body, lines := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/messages/bulk", body)
	req.Header.Set("Content-Type", ndjson)
	go io.WriteString(lines, `{"to":{"client":"a"},"text":"0"}`+"\n")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answers := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !answers.Scan() {
			t.Fatalf("no answer to line %d: %v", i+1, answers.Err())
		}
		var r BulkResult
		if err := json.Unmarshal(answers.Bytes(), &r); err != nil || r.Line != i+1 || r.Status != 202 {
			t.Fatalf("got %s (%v), want line %d accepted", answers.Text(), err, i+1)
		}
		io.WriteString(lines, `{"to":{"client":"a"},"text":"x"}`+"\n")
	}
	lines.Close()
	var last string
	for answers.Scan() {
		last = answers.Text()
	}
	if want := `{"done":true,"lines":4,"accepted":4,"failed":0}`; last != want {
		t.Errorf("summary %s, want %s", last, want)
	}
}

// TestBulkCallerWhoSendsAllBeforeReading must not lock the two up: more
// answers than socket buffers hold wait for it.
func TestBulkCallerWhoSendsAllBeforeReading(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	url := h.serve(Config{Gateway: h.gateway})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(128 << 10)
	line := `{"to":{"client":"ghost"},"text":"x"}` + "\n"
	const n = 15_000
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST /v1/messages/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", ndjson, n*len(line))
	if _, err := io.WriteString(conn, strings.Repeat(line, n)); err != nil {
		t.Fatalf("sending stopped: %v", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"done":true,"lines":%d,"accepted":0,"failed":%d}`+"\n", n, n); !bytes.HasSuffix(data, []byte(want)) {
		t.Errorf("ends with %s, want %s", data[max(0, len(data)-100):], want)
	}
}

// A caller that asks before it sends its lines is told to go on.
func TestBulkCallerWhoWaitsForContinue(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	url := h.serve(Config{Gateway: h.gateway})
	for body, summary := range map[string]string{
		`{"to":{"client":"a"},"text":"x"}` + "\n": `{"done":true,"lines":1,"accepted":1,"failed":0}`,
		"\n": `{"done":true,"lines":0,"accepted":0,"failed":0}`,
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "POST /v1/messages/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", ndjson, len(body))
		in := bufio.NewReader(conn)
		if line, err := in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("before the lines: %q, %v, want 100 Continue", line, err)
		}
		in.ReadString('\n')
		if _, err := io.WriteString(conn, body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(resp.Body); err != nil || !bytes.HasSuffix(data, []byte(summary+"\n")) {
			t.Errorf("the answer is %s, %v, want %s", data, err, summary)
		}
	}
}

func TestBulkCutBodyIsNotDone(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	r := httptest.NewRequest("POST", "http://localhost/v1/messages/bulk", io.MultiReader(
		strings.NewReader(`{"to":{"client":"a"},"text":"x"}`+"\n"), failingReader{}))
	r.Header.Set("Content-Type", ndjson)
	w := newRecorder()
	h.handler.ServeHTTP(w, r)
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	s := decode[BulkSummary](answer{t: t, body: []byte(lines[len(lines)-1])})
	if s.Done || s.Accepted != 1 || s.Problem == nil {
		t.Errorf("summary %+v, want one accepted, not done, and why", s)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestBulkIsRefusedByAServerThatStops, before anything of it is read.
func TestBulkIsRefusedByAServerThatStops(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	h.gateway.Drain()
	h.call("POST", "/v1/messages/bulk", `{"to":{"client":"a"},"text":"x"}`, "Content-Type", ndjson).wantProblem(503, problem.Kind(gateway.CodeDraining))
}

// TestBulkEndsWithItsKey: the first line after the end of the key is not pushed.
func TestBulkEndsWithItsKey(t *testing.T) {
	w := newWorld(t)
	answers := &writes{got: make(chan string, 10), header: make(http.Header)}
	body, send := io.Pipe()
	r := newRequest(t.Context(), "POST", "/v1/messages/bulk", "")
	r.Body = body
	r.Header.Set("Content-Type", ndjson)
	r.Header.Set("Authorization", "Bearer "+w.secrets["a"])
	ended := make(chan struct{})
	go func() { defer close(ended); w.handler.ServeHTTP(answers, r) }()
	line := `{"to":{"client":"a-truck"},"text":"x"}` + "\n"
	io.WriteString(send, line)
	if got := <-answers.got; !strings.Contains(got, `"status":202`) {
		t.Fatalf("before the end: %s", got)
	}
	if err := w.keys.Revoke(w.ids["a"]); err != nil {
		t.Fatal(err)
	}
	io.WriteString(send, line)
	got := <-answers.got
	if !strings.HasPrefix(got, `{"done":false,"lines":1,"accepted":1,`) || !strings.Contains(got, problem.Path+string(gateway.CodeUnauthorized)) {
		t.Errorf("after the end: %s, want the summary, not done, and why", got)
	}
	send.Close()
	<-ended
}

// panickyStore has a bug.
type panickyStore struct{ gateway.Store }

func (panickyStore) StartAccept(gateway.Acceptance, func(gateway.Receipt, error)) {
	panic("top secret bug")
}

// TestABugCostsItsLineOnly, and is not told.
func TestABugCostsItsLineOnly(t *testing.T) {
	var log logLines
	h := newHarness(t)
	h.known("a")
	store := memstore.New(memstore.Options{}) // a store has one gateway
	t.Cleanup(func() { store.Close() })
	h.gateway = gatewaytest.New(t, panickyStore{store}, gateway.Config{})
	cfg := Config{Gateway: h.gateway}
	logTo(&log, slog.LevelInfo)(&cfg)
	h.handler = New(cfg)
	h.device("on", gatewaytest.Options{})
	results, summary := h.bulk("/v1/messages/bulk", `{"to":{"client":"a"},"text":"x"}`+"\n"+onlineLine("on", "x")+`{"to":{"client":"a"},"text":"x"}`)
	var got []int
	for _, r := range results {
		got = append(got, r.Status)
		if r.Problem != nil && (r.Problem.Code() != string(problem.Internal) || strings.Contains(r.Problem.Detail, "secret")) {
			t.Errorf("line %d: %+v", r.Line, r.Problem)
		}
	}
	if !slices.Equal(got, []int{500, 200, 500}) || !summary.Done {
		t.Errorf("answers %v, summary %+v", got, summary)
	}
	if !strings.Contains(log.String(), "top secret bug") || !strings.Contains(log.String(), "bulk_test.go") {
		t.Errorf("log %s, want the cause and the stack", log.String())
	}
}

// slowWire is a connection whose read deadline takes its time.
type slowWire struct {
	*httptest.ResponseRecorder
	entered, leave chan struct{}
}

func (w *slowWire) SetReadDeadline(time.Time) error {
	close(w.entered)
	<-w.leave
	return nil
}

// TestABulkRequestEndsAfterItsWatchers: net/http takes the stream of HTTP/2 away when a
// request ends, and a late call on it would end the process.
func TestABulkRequestEndsAfterItsWatchers(t *testing.T) {
	h := newHarness(t)
	s := newServer(Config{Gateway: h.gateway})
	wire := &slowWire{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	r := httptest.NewRequest("POST", "/v1/messages/bulk", strings.NewReader(""))
	x := &exchange{ResponseWriter: wire}
	x.view = s.views.View(apikey.Anyone, tenant.Request{})
	lines := s.newLineReader(x, r, "")
	s.drain.start(0)
	<-wire.entered
	closed := make(chan struct{})
	go func() {
		lines.close()
		close(closed)
	}()
	select {
	case <-closed:
		t.Error("the request ended while the drain used its connection")
	case <-time.After(50 * time.Millisecond):
	}
	close(wire.leave)
	<-closed
}
