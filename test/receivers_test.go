package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/test/loopback"
)

var receivers = map[string]func(t *testing.T) []string{
	"Go":   func(t *testing.T) []string { return []string{program(t, "receiver", "../examples/receiver")} },
	"Node": func(t *testing.T) []string { return []string{tool(t, "node"), absolute(t, "../examples/receiver.mjs")} },
	"Python": func(t *testing.T) []string {
		return []string{tool(t, "python3"), absolute(t, "../examples/receiver.py")}
	},
}

// A receiver whose secret was forgotten would verify with an empty key, by which anyone
// can sign. It does not start.
func TestExampleReceiversWantASecret(t *testing.T) {
	for name, command := range receivers {
		t.Run(name, func(t *testing.T) {
			for _, secret := range []string{"", "whsec_", "nope"} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				c := exec.CommandContext(ctx, "/usr/bin/env", append([]string{"WEBHOOK_SECRET=" + secret, "PORT=0"}, command(t)...)...)
				var out readyKills
				out.kill = cancel
				c.Stdout, c.Stderr = &out, &out
				if err := c.Run(); err == nil || !strings.Contains(out.String(), "WEBHOOK_SECRET must be") {
					t.Errorf("secret %q: %v, %s", secret, err, out.String())
				}
				cancel()
			}
		})
	}
}

// readyKills is the output of a receiver that shall not become ready.
type readyKills struct {
	text bytes.Buffer // not embedded: its ReadFrom would pass Write by
	kill func()
}

func (r *readyKills) String() string { return r.text.String() }

func (r *readyKills) Write(p []byte) (int, error) {
	n, err := r.text.Write(p)
	if strings.Contains(r.String(), "ready") {
		r.kill()
	}
	return n, err
}

// Each receiver of examples/ takes the gateway's events once, and refuses what is not
// signed.
func TestExampleReceivers(t *testing.T) {
	for name, command := range receivers {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "", t.TempDir())
			addr := loopback.FreeAddr(t)
			_, port, _ := net.SplitHostPort(addr)
			body := strings.NewReader(`{"url":"http://` + addr + `/","types":["message.received"],"timeout":"2s"}`)
			res, err := s.http.Post(s.url+"/v1/webhooks", "application/json", body)
			if err != nil {
				t.Fatal(err)
			}
			var hook struct{ ID, Secret string }
			err = json.NewDecoder(res.Body).Decode(&hook)
			res.Body.Close()
			if err != nil || hook.Secret == "" {
				t.Fatalf("create the webhook: %d, %v", res.StatusCode, err)
			}
			r := run(t, "/usr/bin/env", append([]string{"WEBHOOK_SECRET=" + hook.Secret, "PORT=" + port}, command(t)...)...)
			waitWithin(t, time.Minute, "the receiver is ready", func() bool { return strings.Contains(r.output(), "ready") })

			k := nc(t, s.tcpAddr)
			k.types("REGISTER meter")
			k.sees("REGISTERED ")
			k.types("DATA 1 21.5")
			k.sees("ACK 1")
			waitWithin(t, time.Minute, "it prints the event", func() bool { return strings.Contains(r.output(), "message.received meter") })

			// The gateway sends it again: it is taken, and not printed twice.
			if a, err := s.call("POST", "/v1/webhooks/"+hook.ID+"/replay", "application/json", `{"after":"earliest"}`); err != nil || a.code != http.StatusAccepted {
				t.Fatalf("replay: %d, %v", a.code, err)
			}
			waitWithin(t, time.Minute, "the repeat is answered", func() bool {
				res, err := s.http.Get(s.url + "/v1/webhooks/" + hook.ID + "/attempts")
				if err != nil {
					return false
				}
				defer res.Body.Close()
				all, err := io.ReadAll(res.Body)
				return err == nil && bytes.Contains(all, []byte(`"replay":true,"status":204`))
			})
			if n := strings.Count(r.output(), "message.received meter"); n != 1 {
				t.Errorf("the event is printed %d times", n)
			}
			// A stranger whose request breaks off, or does not end, harms only itself.
			for _, length := range []int{1 << 10, 1 << 30} {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				c.SetDeadline(time.Now().Add(20 * time.Second))
				fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", length)
				if _, err := c.Write(make([]byte, min(length/2, 3<<19))); err == nil && length > 1<<20 {
					if _, err := c.Read(make([]byte, 100)); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("the receiver goes on reading a body without an end")
					}
				}
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
			for _, signature := range []string{"", "v1,", "v1,AAAA", "v2,AAAA v1,"} {
				req, err := http.NewRequest("POST", "http://"+addr+"/", strings.NewReader(`{"id":"evt_1","type":"message.received","data":{}}`))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("webhook-id", "evt_1")
				req.Header.Set("webhook-timestamp", fmt.Sprint(time.Now().Unix()))
				req.Header.Set("webhook-signature", signature)
				res, err := s.http.Do(req)
				if err != nil {
					t.Fatalf("%v\n%s", err, r.output())
				}
				res.Body.Close()
				if res.StatusCode != http.StatusUnauthorized {
					t.Errorf("signature %q is answered %d", signature, res.StatusCode)
				}
			}
		})
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
