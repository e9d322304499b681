package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// pipes is a listener whose connections are in memory, for virtual time.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

func (p *pipes) dial() net.Conn {
	mine, its := net.Pipe()
	p.incoming <- its
	return mine
}

// inServer runs f with a server in virtual time.
func inServer(t *testing.T, change func(*Config), f func(t *testing.T, w *world, p *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := Config{Gateway: w.gateway, Authorizer: w.keys}
		change(&c)
		p := newPipes()
		srv := NewServer(c)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			srv.Serve(p)
		}()
		f(t, w, p)
		srv.Close()
		<-ended
		time.Sleep(time.Minute) // virtual: net/http takes its leave of each connection
	})
}

// bulkRequest is the head of a bulk request without its lines.
func bulkRequest(secret string) string {
	return "POST /v1/messages/bulk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\nAuthorization: Bearer " + secret + "\r\n\r\n"
}

// A key's idle bulk requests, and bodies that it announces and does not send,
// stop no request of another key.
func TestBodiesThatDoNotComeStopNobody(t *testing.T) {
	inServer(t, func(c *Config) { c.MaxBodies = 64 << 20 }, func(t *testing.T, w *world, p *pipes) {
		for range 70 {
			io.WriteString(p.dial(), bulkRequest(w.secrets["a"]))
		}
		synctest.Wait()
		for range 70 {
			go fmt.Fprintf(p.dial(), "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\nAuthorization: Bearer %s\r\n\r\n", w.secrets["a"])
		}
		synctest.Wait()
		for _, key := range []string{"b", "unlimited", "a"} {
			c := p.dial()
			body := `{"to":{"client":"` + map[string]string{"b": "b", "unlimited": "b", "a": "a"}[key] + `-truck"},"text":"x"}`
			fmt.Fprintf(c, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\n\r\n%s", len(body), w.secrets[key], body)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 202 {
				said, _ := io.ReadAll(resp.Body)
				t.Errorf("%s got %d, want 202: %s", key, resp.StatusCode, said)
			}
			c.Close()
		}
	})
}

// A key that holds its share of the memory leaves room for another one.
func TestABodyOfAnotherKeyFindsRoom(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxBodies, c.MaxBody = 100_000, 30_000 })
	started, stop := make(chan struct{}, 8), make(chan struct{})
	done := make(chan int, 8)
	for range 4 { // 80,000 bytes of one key, of which each request waits for its end
		go func() {
			r := newRequest(t.Context(), "POST", "/v1/messages", "")
			r.Header.Set("Authorization", "Bearer "+w.secrets["a"])
			r.ContentLength = -1
			r.Body = readCloser{io.MultiReader(strings.NewReader(strings.Repeat(" ", 20_000)), onRead(func() { started <- struct{}{}; <-stop }))}
			rec := newRecorder()
			w.handler.ServeHTTP(rec, r)
			started <- struct{}{}
			done <- rec.Code
		}()
	}
	for range 4 {
		<-started
	}
	w.as("b", "POST", "/v1/messages", `{"to":{"client":"b-truck"},"text":"`+strings.Repeat("x", 20_000)+`"}`).want(202)
	close(stop)
	refused := 0
	for range 4 {
		if <-done == 503 {
			refused++
		}
	}
	if refused < 2 {
		t.Errorf("%d of four bodies of the hoarder were refused, want those beyond half of the memory", refused)
	}
}

// A revoked key ends its bulk requests, also those that are kept alive with
// blank lines, and each ends with its summary.
func TestRevokingAKeyEndsItsBulkRequests(t *testing.T) {
	for name, keep := range map[string]bool{"silent": false, "blank lines": true} {
		t.Run(name, func(t *testing.T) {
			inServer(t, func(*Config) {}, func(t *testing.T, w *world, p *pipes) {
				c := p.dial()
				io.WriteString(c, bulkRequest(w.secrets["a"]))
				summary := make(chan BulkSummary, 1)
				go func() { summary <- readSummary(c) }()
				if keep {
					go func() {
						for {
							if _, err := io.WriteString(c, "1\r\n\n\r\n"); err != nil {
								return
							}
							time.Sleep(5 * time.Second)
						}
					}()
				}
				time.Sleep(12 * time.Second)
				if err := w.keys.Revoke(w.ids["a"]); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				select {
				case got := <-summary:
					if got.Done || got.Problem == nil || got.Problem.Status != 403 {
						t.Errorf("summary %+v, want done false and a 403", got)
					}
				default:
					t.Error("the request goes on")
				}
				c.Close()
			})
		})
	}
}

// An idle bulk request ends with its summary.
func TestAnIdleBulkRequestEndsWithItsSummary(t *testing.T) {
	inServer(t, func(*Config) {}, func(t *testing.T, w *world, p *pipes) {
		c := p.dial()
		defer c.Close()
		io.WriteString(c, bulkRequest(w.secrets["a"]))
		if got := readSummary(c); got.Done || got.Problem == nil || got.Problem.Status != 408 {
			t.Errorf("summary %+v, want done false and a 408", got)
		}
	})
}

// readSummary reads an answer to a bulk request to its end.
func readSummary(c net.Conn) (s BulkSummary) {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return s
	}
	said, _ := io.ReadAll(resp.Body)
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	json.Unmarshal([]byte(lines[len(lines)-1]), &s)
	return s
}

// A wait ends with the key under which it began: the state is told, no result
// that came after, and the connection ends.
func TestRevokingAKeyEndsItsWaits(t *testing.T) {
	for target, want := range map[string]int{"/v1/clients/a-deaf/messages?wait=20s": 202, "/v1/clients/a-deaf/messages?mode=online&wait=20s": 504} {
		inServer(t, func(*Config) {}, func(t *testing.T, w *world, p *pipes) {
			deaf := w.device("a-deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
			defer deaf.Disconnect("client_closed")
			_, secret, err := w.keys.Create(apikey.Spec{Name: "waits", Scopes: apikey.MessagesWrite}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			c := p.dial()
			defer c.Close()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nAuthorization: Bearer %s\r\n\r\nx", target, secret)
			began := time.Now()
			time.AfterFunc(2*time.Second, func() {
				list := w.keys.List()
				for _, k := range list {
					if k.Name == "waits" {
						w.keys.Revoke(k.ID)
					}
				}
			})
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); resp.StatusCode != want || took > 3*time.Second || !resp.Close {
				t.Errorf("%s: %d after %v, connection ends %v, want %d at the revocation and the end", target, resp.StatusCode, took, resp.Close, want)
			}
		})
	}
}

// A length and chunks in one request are two opinions about where the next one
// begins: there is no next one on that connection.
func TestChunksEndTheConnection(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	l := listen(t)
	serve(t, Config{Gateway: h.gateway}, l)
	for _, target := range []string{"/v1/clients/a/messages", "/v1/messages/bulk"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", target)
		said, _ := io.ReadAll(c)
		if got := strings.Count(string(said), "HTTP/1.1 "); got != 1 {
			t.Errorf("%s: %d answers, want one and the end of the connection:\n%s", target, got, said)
		}
	}
}

// The lines of a bulk request count against its key's rate.
func TestBulkLinesKeepToTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Rate, c.Burst = 10, 20 })
		time.Sleep(time.Hour) // virtual: what made the world is forgotten
		began := time.Now()
		lines := strings.Repeat(`{"to":{"client":"a-truck"},"text":"x"}`+"\n", 219)
		a := w.as("a", "POST", "/v1/messages/bulk", lines, "Content-Type", ndjson).want(200)
		if took := time.Since(began); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("219 lines took %v at 10 a second, 20 of them and the request at once, want 20s", took)
		}
		if !strings.Contains(string(a.body), `"accepted":219`) {
			t.Errorf("not all lines are accepted: %s", a.body[max(0, len(a.body)-200):])
		}
	})
}

// A body of unknown members is refused at the first of them.
func TestUnknownMembersEndTheReading(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"to":{"all":true}`)
	for i := range 100_000 {
		fmt.Fprintf(&b, `,"m%d":{"a":[1,2,3]}`, i)
	}
	body := []byte(b.String() + "}")
	allocs := testing.AllocsPerRun(3, func() {
		var p PushMany
		err := decodeObject(body, &p)
		if got := problem.Of(err); got.Code() != string(problem.UnknownField) || len(got.Errors) != 1 || got.Errors[0].Pointer != "/m0" {
			t.Fatalf("%v, want the first unknown member", err)
		}
	})
	if allocs > 1000 {
		t.Errorf("%v allocations, want those for the first members only", allocs)
	}
}

// The refusal of an unauthenticated caller does not wait for its body.
func TestAStrangerIsRefusedAtOnce(t *testing.T) {
	inServer(t, func(*Config) {}, func(t *testing.T, w *world, p *pipes) {
		c := p.dial()
		defer c.Close()
		began := time.Now()
		go io.WriteString(c, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); resp.StatusCode != 401 || took > time.Second {
			t.Errorf("%d after %v, want 401 at once", resp.StatusCode, took)
		}
		io.Copy(io.Discard, resp.Body)
		if _, err := r.ReadByte(); err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("the connection ends after %v with %v, want its end within seconds", time.Since(began), err)
		}
	})
}
