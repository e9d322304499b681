package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/clocktest"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/findings"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/internal/webhook"
)

// troubled is a gateway whose clock a test can move forwards, both readings at once, or
// step.
type troubled struct {
	*testing.T
	*App
	cfg   *config.Config
	moved atomic.Int64
	wall  clocktest.Clock
}

func (g *troubled) now() time.Time { return g.wall.Now().Add(time.Duration(g.moved.Load())) }

func (g *troubled) start() {
	g.Helper()
	g.cfg.Drain.Timeout = config.Duration(time.Second) // no device of these tests closes
	a, err := newApp(g.cfg, slog.New(slog.DiscardHandler), g.now)
	if err != nil {
		g.Fatal(err)
	}
	g.App = a
	g.change(func(l *thresholds) { l.freeShare = 0 }) // the disk of the tests may be nearly full
	a.sync.dir = g.cfg.Data.Dir
	a.sync.once = func(*os.File) (time.Duration, error) { return time.Millisecond, nil }
	a.Start()
	g.Cleanup(func() { a.end(g.T) })
}

// change sets thresholds.
func (g *troubled) change(f func(*thresholds)) {
	l := *g.levels.Load()
	f(&l)
	g.levels.Store(&l)
}

func (g *troubled) stop() {
	g.Helper()
	if err := g.Stop(context.WithoutCancel(g.Context())); err != nil {
		g.Error(err)
	}
}

// pass lets time pass.
func (g *troubled) pass(d time.Duration) {
	g.moved.Add(int64(d))
	g.look()
}

// found returns the finding of a code, as the operator sees it; nil for none.
func (g *troubled) found(code findings.Code) *findings.Finding {
	g.look()
	g.findings.Refresh()
	list, _ := g.findings.List(findings.Caller{Allows: func(string) bool { return true }})
	for i := range list {
		if list[i].Code == code {
			return &list[i]
		}
	}
	return nil
}

// wait waits until a finding is there, or is gone.
func (g *troubled) wait(code findings.Code, there bool) *findings.Finding {
	g.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		f := g.found(code)
		if (f != nil) == there {
			return f
		}
		if time.Now().After(end) {
			g.Fatalf("the finding %s: %+v, want it there: %v", code, f, there)
		}
	}
}

// device registers on a line of its own.
func (g *troubled) device(id string, words ...string) *line {
	g.Helper()
	l := dial(g.T, g.App, nil)
	text := "REGISTER " + id
	for _, w := range words {
		text += " " + w
	}
	l.say(text + "\n")
	l.hear()
	return l
}

// gone waits until a client is offline.
func (g *troubled) gone(id gateway.ClientID) {
	g.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if c, err := g.gw.Client(id); err == nil && !c.Online {
			return
		}
		if time.Now().After(end) {
			g.Fatalf("%s is still online", id)
		}
	}
}

func (g *troubled) push(id gateway.ClientID) gateway.MessageID {
	g.Helper()
	m, err := g.gw.Push(g.Context(), gateway.PushRequest{To: gateway.Audience{Client: id}, Payload: []byte("x"), QueueUnknown: true})
	if err != nil {
		g.Fatal(err)
	}
	return m.Message.ID
}

// trouble makes the cause of a finding before or after the start, and removes it.
type trouble struct {
	before func(g *troubled) // may change the settings
	cause  func(g *troubled)
	check  func(f *findings.Finding) bool // of the finding; nil = any
	cure   func(g *troubled)
}

// troubles has each code with its cause. A code without one fails the test.
var troubles = map[findings.Code]trouble{
	findings.StoreUnavailable: {
		before: func(g *troubled) { g.cfg.Data.MinFree = 1 << 60 },
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Critical && regexp.MustCompile(`^disk has [0-9.]+ MiB free, the minimum is [0-9.]+ MiB$`).MatchString(f.Facts["cause"].(string))
		},
		cure: func(g *troubled) {
			g.stop()
			g.cfg.Data.MinFree = 1
			g.start()
		},
	},
	findings.DiskNearlyFull: {
		cause: func(g *troubled) { g.change(func(l *thresholds) { l.freeShare, l.freeBytes = 1, 1<<60 }) },
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Warning && f.Facts["free_bytes"].(int64) > 0 && f.Facts["total_bytes"].(int64) > f.Facts["free_bytes"].(int64)
		},
		cure: func(g *troubled) { g.change(func(l *thresholds) { l.freeShare = 0 }) },
	},
	findings.StoreRepaired: {
		before: func(g *troubled) {
			g.start()
			g.stop()
			if err := os.Remove(filepath.Join(g.cfg.Data.Dir, "MARK")); err != nil {
				g.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(g.cfg.Data.Dir, "MARK"), []byte("torn"), 0o600); err != nil {
				g.Fatal(err)
			}
			if _, err := engine.Repair(engine.Options{Dir: g.cfg.Data.Dir}, func(*engine.Loss) error { return nil }); err != nil {
				g.Fatal(err)
			}
		},
		cure: func(g *troubled) { os.RemoveAll(filepath.Join(g.cfg.Data.Dir, "quarantine")) },
	},
	findings.SyncTooFast: {
		cause: func(g *troubled) {
			g.until(func() bool { return g.sync.p50.Load() > 0 }) // the start has measured
			g.sync.once = func(*os.File) (time.Duration, error) { return 2 * time.Microsecond, nil }
			g.sync.measure(nil)
		},
		check: func(f *findings.Finding) bool { return f.Facts["p50_us"] == 2.0 },
		cure: func(g *troubled) {
			g.sync.once = func(*os.File) (time.Duration, error) { return 200 * time.Microsecond, nil }
			g.sync.measure(nil)
		},
	},
	findings.ClockStep: {
		cause: func(g *troubled) { g.wall.Step(-2 * time.Hour) },
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Warning && f.Facts["by_seconds"].(float64) < -7199
		},
		cure: func(g *troubled) { g.wall.Step(2 * time.Hour) },
	},
	findings.JustStarted: {
		before: func(g *troubled) {
			g.start()
			g.device("meter-1")
			g.stop()
		},
		check: func(f *findings.Finding) bool {
			return f.Count == 1 && f.Facts["client"] == "meter-1" && f.Facts["started_at"] != "" && f.Severity == findings.Info && f.Facts["reason"] == gateway.ReasonShutdown
		},
		cure: func(g *troubled) { g.device("meter-1") },
	},
	findings.AuthHookFailing: {
		before: func(g *troubled) {
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if g.moved.Load() == 0 {
					w.WriteHeader(http.StatusBadGateway)
				}
				io.WriteString(w, `{"allow":true}`)
			}))
			g.Cleanup(service.Close)
			g.cfg.Auth.DeviceHookURL = service.URL
		},
		cause: func(g *troubled) {
			for n := range 6 {
				g.device("meter-" + strconv.Itoa(n%2))
			}
		},
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Critical && f.Count == 2 && f.Facts["registrations"] == uint64(6) && f.Facts["client"] == "meter-1" &&
				f.Facts["last_error"] == "status 502; want 200 or 403" && time.Since(f.Since) < time.Minute
		},
		cure: func(g *troubled) {
			g.moved.Add(1) // the service answers
			g.until(func() bool { g.device("meter-1"); _, err := g.gw.Client("meter-1"); return err == nil })
		},
	},
	findings.DevicesRefused: {
		before: func(g *troubled) { g.cfg.Auth.DeviceToken = "a-secret-token" },
		cause:  func(g *troubled) { g.device("meter-1", "wrong") },
		check: func(f *findings.Finding) bool {
			return f.Count == 1 && f.Facts["client"] == "meter-1" && f.Facts["reason"] != ""
		},
		cure: func(g *troubled) { g.device("meter-1", "a-secret-token") },
	},
	findings.RegistrationsInvalid: {
		cause: func(g *troubled) { g.device("meter/7"); g.device("meter/8") },
		check: func(f *findings.Finding) bool {
			return f.Count == 1 && f.Facts["reason"] == gateway.ReasonBadClientID && f.Facts["sample"] == "meter/8"
		},
		cure: func(g *troubled) { g.pass(61 * time.Minute) },
	},
	findings.ClientsFlapping: {
		cause: func(g *troubled) {
			for range 5 {
				g.device("meter-1").nc.Close()
				g.gone("meter-1")
			}
		},
		check: func(f *findings.Finding) bool { return f.Count == 1 && f.Facts["client"] == "meter-1" },
		cure:  func(g *troubled) { g.pass(6 * time.Minute) },
	},
	findings.DuplicateIDs: {
		cause: func(g *troubled) {
			for range 4 {
				g.device("meter-1")
			}
		},
		check: func(f *findings.Finding) bool { return f.Count == 1 && f.Facts["client"] == "meter-1" },
		cure:  func(g *troubled) { g.pass(11 * time.Minute) },
	},
	findings.DevicesSilent: {
		before: func(g *troubled) {
			g.cfg.TCP.Heartbeat, g.cfg.TCP.Grace = config.Duration(100*time.Millisecond), config.Duration(100*time.Millisecond)
		},
		cause: func(g *troubled) {
			l := g.device("meter-1")
			if ask, err := l.in.ReadString('\n'); ask != "PING\n" {
				g.Fatalf("got %q, %v, want a PING", ask, err)
			}
			l.say("PONG\n") // the only one
		},
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Info && f.Facts["client"] == "meter-1" && f.Facts["reason"] == gateway.ReasonHeartbeatTimeout
		},
		cure: func(g *troubled) {
			<-connect(g.T, g.App, "meter-1", nil)
		},
	},
	findings.QueueOld: {
		cause: func(g *troubled) {
			g.push("meter-1")
			g.pass(61 * time.Minute)
		},
		check: func(f *findings.Finding) bool { return f.Count == 1 && f.Facts["oldest_at"] != "" },
		cure: func(g *troubled) {
			if err := g.gw.Disconnect(g.Context(), "meter-1", gateway.DisconnectOptions{Purge: true}); err != nil {
				g.Fatal(err)
			}
		},
	},
	findings.UplinksUnread: {
		cause: func(g *troubled) {
			g.device("meter-1").say("DATA 1 hello\n")
			g.until(func() bool { return g.gw.UplinkCount() > 0 })
			g.pass(time.Second)
			g.pass(11 * time.Minute)
		},
		check: func(f *findings.Finding) bool { return f.Count == 1 },
		cure: func(g *troubled) {
			for _, err := range backend(g.T, g.App).Uplinks(g.Context(), client.UplinkQuery{}) {
				if err != nil {
					g.Fatal(err)
				}
			}
		},
	},
	findings.UplinksRefused: {
		before: func(g *troubled) { g.cfg.Data.MaxDisk = 32 << 20 },
		cause:  func(g *troubled) { g.device("meter-1").fillUplinks() },
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Warning && f.Count == 1 && f.Facts["client"] == "meter-1" && f.Facts["reason"] == "uplinks_full"
		},
		cure: func(g *troubled) { g.pass(11 * time.Minute) },
	},
	findings.WebhookFailing: {
		cause: func(g *troubled) {
			g.hook("http://127.0.0.1:1/")
			g.push("meter-1")
			g.until(func() bool { return !g.webhooks.List(apikey.Limit{})[0].Failing.IsZero() })
			g.moved.Add(int64(2 * time.Minute))
			g.push("meter-2")
		},
		check: func(f *findings.Finding) bool { return f.Facts["last_error"] != "" && f.Link != "" },
		cure: func(g *troubled) {
			receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			g.Cleanup(receiver.Close)
			g.changeHook(func(s *webhook.Spec) { s.URL = receiver.URL })
		},
	},
	findings.WebhookParked: {
		cause: func(g *troubled) {
			refuse := func(w http.ResponseWriter, r *http.Request) {
				if b, _ := io.ReadAll(r.Body); strings.Contains(string(b), "meter-1") {
					w.WriteHeader(http.StatusInternalServerError)
				}
			}
			receiver := httptest.NewServer(http.HandlerFunc(refuse))
			g.Cleanup(receiver.Close)
			g.hook(receiver.URL)
			g.push("meter-1")
			g.push("meter-2")
		},
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Warning && f.Count == 1 && f.Facts["client"] == "meter-1" && f.Facts["last_error"] != nil && f.Link != ""
		},
		cure: func(g *troubled) {
			receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			g.Cleanup(receiver.Close)
			g.changeHook(func(s *webhook.Spec) { s.URL = receiver.URL })
		},
	},
	findings.WebhookDisabled: {
		cause: func(g *troubled) {
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
			g.Cleanup(receiver.Close)
			g.hook(receiver.URL)
			g.push("meter-1")
		},
		check: func(f *findings.Finding) bool { return f.Facts["cause"] == "gone" && f.Severity == findings.Critical },
		cure:  func(g *troubled) { g.changeHook(func(s *webhook.Spec) { s.State = webhook.Paused }) },
	},
	findings.ConsumerBehind: {
		cause: func(g *troubled) {
			g.change(func(l *thresholds) { l.consumerLag = 3 })
			if _, _, err := g.consumers.Put(g.Context(), "orders", feed.Filter{}, apikey.Limit{}, g.gw.LastEvent(), false); err != nil {
				g.Fatal(err)
			}
			for range 4 {
				g.push("meter-1")
			}
		},
		check: func(f *findings.Finding) bool { return f.Facts["name"] == "orders" && f.Facts["lag"].(uint64) >= 3 },
		cure: func(g *troubled) {
			for lease := ""; ; {
				b, err := g.consumers.Pull(g.Context(), "orders", apikey.Limit{}, consumer.Query{Lease: lease, From: "test", Most: 100})
				if err != nil {
					g.Fatal(err)
				}
				if len(b.Events) == 0 {
					return
				}
				lease = b.Lease
				if _, err := g.consumers.Ack(g.Context(), "orders", apikey.Limit{}, lease, b.Through, false); err != nil {
					g.Fatal(err)
				}
			}
		},
	},
	findings.CertificateExpiring: {
		before: func(g *troubled) {
			id := newIdentity(g.T, g.TempDir(), "server") // for a day
			g.cfg.TCP.TLS, g.cfg.TCP.TLSCertFile, g.cfg.TCP.TLSKeyFile = config.Optional, id.cert, id.key
		},
		check: func(f *findings.Finding) bool { return f.Severity == findings.Critical && f.Facts["listener"] == "tcp" },
		cure: func(g *troubled) {
			newIdentityFor(g.T, filepath.Dir(g.cfg.TCP.TLSCertFile), "server", 30*24*time.Hour)
			g.tcpCerts.Refresh()
		},
	},
	findings.KeyExpiring: {
		cause: func(g *troubled) {
			_, _, err := g.callers.keys.Create(apikey.Spec{Name: "backend", Scopes: apikey.ClientsRead, ExpiresAt: g.App.now().Add(24 * time.Hour)}, g.App.now())
			if err != nil {
				g.Fatal(err)
			}
		},
		check: func(f *findings.Finding) bool {
			return f.Facts["name"] == "backend" && time.Since(f.Since) < time.Hour // not before the key was made
		},
		cure: func(g *troubled) {
			if err := g.callers.keys.Revoke(g.callers.keys.List()[0].ID); err != nil {
				g.Fatal(err)
			}
		},
	},
	findings.ClientsFull: {
		before: func(g *troubled) { g.cfg.Clients.Max = 10 },
		cause: func(g *troubled) {
			for n := range 9 {
				g.push(gateway.ClientID("meter-" + strconv.Itoa(n)))
			}
		},
		check: func(f *findings.Finding) bool {
			return f.Count == 9 && f.Facts["limit"] == 10 && f.Severity == findings.Warning
		},
		cure: func(g *troubled) {
			if _, err := g.gw.Forget(g.Context(), "meter-1"); err != nil {
				g.Fatal(err)
			}
		},
	},
	findings.ConnectionsFull: {
		before: func(g *troubled) { g.cfg.TCP.MaxConnections = 4 },
		cause: func(g *troubled) {
			for n := range 4 {
				g.device("meter-" + strconv.Itoa(n))
			}
		},
		check: func(f *findings.Finding) bool { return f.Count == 4 && f.Severity == findings.Critical },
		cure: func(g *troubled) {
			if err := g.gw.Disconnect(g.Context(), "meter-1", gateway.DisconnectOptions{}); err != nil {
				g.Fatal(err)
			}
		},
	},
	findings.TracesLeft: {
		cause: func(g *troubled) {
			if _, err := g.timeline.StartTrace(timeline.Trace{Client: "meter-1", Name: "support", For: time.Minute}); err != nil {
				g.Fatal(err)
			}
		},
		check: func(f *findings.Finding) bool {
			return f.Severity == findings.Info && f.Facts["client"] == "meter-1" && f.Facts["name"] == "support" && f.Facts["ends_at"] != ""
		},
		cure: func(g *troubled) { g.timeline.EndTrace("meter-1") },
	},
}

// until waits for a condition.
func (g *troubled) until(is func() bool) {
	g.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			g.Fatal("the condition has not come")
		}
	}
}

func (g *troubled) hook(url string) {
	g.Helper()
	if _, err := g.webhooks.Create(g.Context(), webhook.Spec{URL: url, State: webhook.Active}, apikey.Limit{}, true, g.gw.LastEvent()); err != nil {
		g.Fatal(err)
	}
}

func (g *troubled) changeHook(change func(*webhook.Spec)) {
	g.Helper()
	err := g.webhooks.Update(g.Context(), g.webhooks.List(apikey.Limit{})[0].ID, apikey.Limit{}, func(s *webhook.Spec) error {
		s.State = webhook.Active
		change(s)
		return nil
	})
	if err != nil {
		g.Fatal(err)
	}
}

// TestEachFindingComesAndGoes makes the cause of each code in a real process, and removes
// it.
func TestEachFindingComesAndGoes(t *testing.T) {
	for _, code := range findings.Codes() {
		c, ok := troubles[code]
		if !ok {
			t.Errorf("no cause is known for %s: make it in troubles", code)
			continue
		}
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			g := &troubled{T: t, cfg: testConfig(t.TempDir())}
			if c.before != nil {
				c.before(g)
			}
			g.start()
			if c.cause != nil {
				if f := g.found(code); f != nil {
					t.Fatalf("before its cause: %+v", f)
				}
				c.cause(g)
			}
			f := g.wait(code, true)
			if c.check != nil && !c.check(f) || f.Text == "" || f.Since.IsZero() || f.Count < 1 || slices.Contains([]rune(f.Text), '{') {
				t.Errorf("finding %+v", f)
			}
			c.cure(g)
			g.wait(code, false)
		})
	}
}

// TestANewConsumerHasNoOldBeginning: it is behind since it was made, and not since one of
// its name was.
func TestANewConsumerHasNoOldBeginning(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.start()
	g.change(func(l *thresholds) { l.consumerLag = 0 })
	make := func() {
		if _, _, err := g.consumers.Put(g.Context(), "orders", feed.Filter{}, apikey.Limit{}, g.gw.LastEvent(), false); err != nil {
			g.Fatal(err)
		}
	}
	make()
	first := g.wait(findings.ConsumerBehind, true).Since
	g.pass(time.Hour)
	if got := g.wait(findings.ConsumerBehind, true).Since; !got.Equal(first) {
		t.Errorf("behind since %v, an hour later since %v", first, got)
	}
	if err := g.consumers.Delete(g.Context(), "orders", apikey.Limit{}); err != nil {
		t.Fatal(err)
	}
	make()
	if got := g.wait(findings.ConsumerBehind, true).Since; got.Sub(first) < time.Hour {
		t.Errorf("a new consumer is behind since %v, want an hour later", got)
	}
}

// TestSilentDevicesOfOthersAreNoWarning: a tenant with one silent device learns nothing of
// those of others.
func TestSilentDevicesOfOthersAreNoWarning(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.cfg.TCP.Heartbeat, g.cfg.TCP.Grace = config.Duration(100*time.Millisecond), config.Duration(100*time.Millisecond)
	g.start()
	g.change(func(l *thresholds) { l.manyDevices = 2 })
	for _, id := range []string{"a-1", "b-1"} {
		l := g.device(id)
		l.in.ReadString('\n')
		l.say("PONG\n") // the only one
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if f := g.wait(findings.DevicesSilent, true); f.Count == 2 && f.Severity == findings.Warning {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the operator sees %+v, want a warning about two", f)
		}
	}
	list, _ := g.findings.List(findings.Caller{Allows: func(string) bool { return true }, Owner: "prefix:a-",
		Sees: func(id string) bool { return strings.HasPrefix(id, "a-") }})
	for _, f := range list {
		if f.Code == findings.DevicesSilent && f.Count == 1 && f.Severity == findings.Info {
			return
		}
	}
	t.Errorf("the tenant sees %+v, want one silent device, and no warning", list)
}

// TestADeadAuthHookIsSeen: the API says why no device comes in, to callers without a limit.
func TestADeadAuthHookIsSeen(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.cfg.Auth.DeviceHookURL = "http://127.0.0.1:1/"
	g.start()
	for n := range 7 {
		g.device("meter-" + strconv.Itoa(n))
	}
	g.findings.Refresh()
	res, err := http.Get("http://" + g.HTTPAddr().String() + "/v1/findings")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	for _, part := range []string{`"code":"auth_hook_failing"`, `"severity":"critical"`, `"count":7`, `connection refused`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	tenant := findings.Caller{Owner: "prefix:meter-", Allows: func(string) bool { return true }, Sees: func(string) bool { return true }}
	if list, _ := g.findings.List(tenant); len(list) != 0 {
		t.Errorf("a tenant sees the operator's service: %+v", list)
	}
}

// fillUplinks sends uplinks until one is refused for now, and that one again.
func (l *line) fillUplinks() {
	l.t.Helper()
	payload := strings.Repeat("x", 48_000)
	for n := 1; ; n++ {
		l.say(fmt.Sprintf("DATA %d %s\n", n, payload))
		if answer := l.hear(); strings.HasPrefix(answer, "RETRY ") {
			l.say(fmt.Sprintf("DATA %d %s\n", n, payload))
			l.hear()
			return
		} else if !strings.HasPrefix(answer, "ACK ") {
			l.t.Fatalf("uplink %d: %q", n, answer)
		}
	}
}

// TestRefusedUplinksAreSeen: a finding names the device, and the answer why of the device
// says so.
func TestRefusedUplinksAreSeen(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.cfg.Data.MaxDisk = 32 << 20
	g.start()
	other := g.device("meter-2")
	g.device("meter-1").fillUplinks()
	other.say("DATA 1 x\n")
	other.hear()
	for path, parts := range map[string][]string{
		"/v1/findings":            {`"code":"uplinks_refused"`, `"clients":["meter-1"]`, `"reason":"uplinks_full"`},
		"/v1/clients/meter-1/why": {`"code":"online_uplinks_refused"`, `"uplinks_refused":{"count":2,"reason":"uplinks_full"`, "refused for now twice because"},
		"/v1/clients/meter-2/why": {`"code":"online"`},
	} {
		g.findings.Refresh()
		res, err := http.Get("http://" + g.HTTPAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		for _, part := range parts {
			if !strings.Contains(string(body), part) {
				t.Errorf("%s: no %s in %s", path, part, body)
			}
		}
	}
}

var errNoDisk = errors.New("no disk")

// The first key stops the webhooks to this machine. The answer that has the key says so,
// and at once the webhook and a finding say why, and what to set.
func TestTheFirstKeyNamesTheWebhooksThatItStops(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	const why = "webhooks reach this machine only while the API is on loopback and needs no key (list 127.0.0.1 in webhooks.allow_networks)"
	overSocket := func(g *troubled, name string) (warnings string) {
		g.Helper()
		status, said := askAdmin(g.T, g.cfg.Data.Dir, "POST", "/keys", fmt.Sprintf(`{"name":%q,"scopes":["admin"]}`, name))
		if status != http.StatusOK {
			g.Fatalf("no key: %d %v", status, said)
		}
		return fmt.Sprint(said["warnings"])
	}
	t.Run("not listed", func(t *testing.T) {
		g := &troubled{T: t, cfg: testConfig(t.TempDir())}
		g.start()
		g.hook(receiver.URL)
		if f := g.found(findings.WebhookFailing); f != nil {
			t.Errorf("before the key: %+v", f)
		}
		if w := overSocket(g, "first"); !strings.Contains(w, why) {
			t.Errorf("the first key warns %q", w)
		}
		if st := g.webhooks.List(apikey.Limit{})[0]; !strings.Contains(st.LastError, why) {
			t.Errorf("the webhook says %q", st.LastError)
		}
		if f := g.found(findings.WebhookFailing); f == nil || !strings.Contains(f.Text, why) || f.Since.IsZero() {
			t.Errorf("finding %+v", f)
		}
		if w := overSocket(g, "second"); w != "<nil>" {
			t.Errorf("the second key warns %q", w)
		}
	})
	t.Run("over the API", func(t *testing.T) {
		g := &troubled{T: t, cfg: testConfig(t.TempDir())}
		g.start()
		g.hook(receiver.URL)
		made, err := backend(t, g.App).CreateAPIKey(t.Context(), client.NewAPIKey{Name: "first", Scopes: []string{"admin"}})
		if err != nil || len(made.Warnings) != 1 || !strings.Contains(made.Warnings[0], why) {
			t.Errorf("the first key warns %q, %v", made.Warnings, err)
		}
	})
	t.Run("listed", func(t *testing.T) {
		g := &troubled{T: t, cfg: testConfig(t.TempDir())}
		g.cfg.Webhooks.AllowNetworks = []string{"127.0.0.1"}
		g.start()
		g.hook(receiver.URL)
		if w := overSocket(g, "first"); w != "<nil>" || g.found(findings.WebhookFailing) != nil {
			t.Errorf("the first key warns %q, finding %+v", w, g.found(findings.WebhookFailing))
		}
	})
}

// TestTheTimeOfASyncIsMeasured: on the real disk, and unknown if it fails.
func TestTheTimeOfASyncIsMeasured(t *testing.T) {
	s := syncTime{dir: t.TempDir(), once: timeSync}
	if s.measure(nil); s.p50.Load() <= 0 {
		t.Errorf("median %d, want a time", s.p50.Load())
	}
	if list, err := os.ReadDir(s.dir); err != nil || len(list) != 0 {
		t.Errorf("left behind %v, %v", list, err)
	}
	s = syncTime{dir: t.TempDir(), once: func(*os.File) (time.Duration, error) { return 0, errNoDisk }}
	if s.measure(nil); s.p50.Load() != 0 {
		t.Errorf("median %d of failing writes", s.p50.Load())
	}
}
