package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/clocktest"
	"github.com/longwire/longwire/internal/config"
)

// stepClock is a machine's clock that counts how often it is looked at.
type stepClock struct {
	clocktest.Clock
	looks atomic.Int64
}

func (c *stepClock) Now() time.Time {
	c.looks.Add(1)
	return c.Clock.Now()
}

// startStepped starts a process on a clock that the test steps.
func startStepped(t *testing.T, cfg *config.Config) (*App, *stepClock, *logBuffer) {
	t.Helper()
	clock, log := &stepClock{}, &logBuffer{}
	a := startOn(t, cfg, slog.NewJSONHandler(log, nil), clock.Now)
	return a, clock, log
}

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// jumps are steps of the wall clock; a suspended machine steps forwards.
var jumps = []struct {
	name string
	by   time.Duration
}{
	{"one second forwards", time.Second},
	{"one second backwards", -time.Second},
	{"one hour forwards", time.Hour},
	{"one hour backwards", -time.Hour},
	{"suspended for eight hours", 8 * time.Hour},
	{"one day forwards", day},
	{"one day backwards", -day},
	{"three years forwards", 3 * year},
	{"three years backwards", -3 * year},
}

// What follows the wall clock moves by the step and no further; what is a
// duration does not notice.
func TestTheClockJumpsUnderARunningGateway(t *testing.T) {
	for _, engine := range []string{config.EnginePebble, config.EngineMemory} {
		for _, jump := range jumps {
			if engine == config.EngineMemory && jump.by.Abs() != day {
				continue // its clock is the other engine's
			}
			t.Run(engine+"/"+jump.name, func(t *testing.T) {
				t.Parallel()
				cfg := testConfig(t.TempDir())
				cfg.Data.Engine = engine
				a, clock, log := startStepped(t, cfg)
				j := &jumped{T: t, app: a, backend: backend(t, a), clock: clock, log: log, by: jump.by}
				j.prepare()
				clock.Step(jump.by)
				j.sweep()
				j.connections()
				j.deadlines()
				j.finalStates()
				j.keys()
				j.drains()
				j.noticed()
				j.rests()
			})
		}
	}
}

// jumped is a gateway under a clock that jumps by a step.
type jumped struct {
	*testing.T
	app     *App
	backend *client.Client
	clock   *stepClock
	log     *logBuffer
	by      time.Duration

	up          <-chan struct{}
	device      inbox
	connected   client.ClientInfo
	acked       client.Message
	short, long client.Message // for clients that are away
	first       client.Message // pushed with a key
	mute        *line
	waited      chan time.Duration
}

const (
	shortTTL = 30 * time.Minute
	longTTL  = 10 * day
	keyLife  = day
	retained = 7 * day // data.status_retention
)

func (j *jumped) push(to, payload string, p client.Push) client.Message {
	j.Helper()
	p.Payload, p.QueueUnknown = client.Text(payload), true
	m, err := j.backend.Push(j.Context(), to, p)
	if err != nil {
		j.Fatalf("push %q to %s: %v", payload, to, err)
	}
	return *m
}

func (j *jumped) prepare() {
	j.up = connect(j.T, j.app, "device", j.device.take)
	<-j.up
	j.acked = j.push("device", "before", client.Push{Wait: 10 * time.Second})
	j.connected = j.info("device")
	j.short = j.push("away", "short", client.Push{TTL: shortTTL})
	j.long = j.push("away", "long", client.Push{TTL: longTTL})
	j.first = j.push("nobody", "keyed", client.Push{TTL: longTTL, IdempotencyKey: "k"})
	if j.acked.Status != client.Acked {
		j.Fatalf("before the step: %+v", j.acked)
	}
	_, j.mute = register(j.T, j.app, nil, "mute")
	j.waited = make(chan time.Duration, 1)
	began, looks := time.Now(), j.clock.looks.Load()
	go func() {
		_, _ = j.backend.Push(j.Context(), "mute", client.Push{Payload: client.Text("?"), Mode: client.Online, Wait: time.Second})
		j.waited <- time.Since(began)
	}()
	waitFor(j.T, func() bool { return j.clock.looks.Load() > looks && j.info("mute").InFlight == 1 })
}

// sweep returns when the store has looked at the clock after the step.
func (j *jumped) sweep() {
	probe := j.push("probe", "x", client.Push{TTL: time.Second})
	waitFor(j.T, func() bool {
		m, err := j.backend.Message(j.Context(), probe.ID, 0)
		return err == nil && m.Status == client.Expired
	})
}

func (j *jumped) info(id string) client.ClientInfo {
	j.Helper()
	c, err := j.backend.Client(j.Context(), id)
	if err != nil {
		j.Fatalf("client %s: %v", id, err)
	}
	return *c
}

// near reports whether a time is one that the clock has shown lately.
func (j *jumped) near(at time.Time) bool {
	return j.clock.Now().Round(0).Sub(at).Abs() < 30*time.Second
}

func (j *jumped) connections() {
	c := j.info("device")
	if !c.Online || c.Session != j.connected.Session {
		j.Errorf("the device is on %q, online %v; want %q, as before the step", c.Session, c.Online, j.connected.Session)
	}
	if !j.near(c.LastSeenAt) {
		j.Errorf("last_seen_at is %v, while the clock shows %v", c.LastSeenAt, j.clock.Now())
	}
	if !c.ConnectedAt.Equal(j.connected.ConnectedAt) {
		j.Errorf("connected_at is %v, want %v as before the step", c.ConnectedAt, j.connected.ConnectedAt)
	}
	if n := j.app.gw.Stats().Disconnects; n != 0 {
		j.Errorf("%d connections have ended", n)
	}
}

// deadlines looks at what a caller waits for.
func (j *jumped) deadlines() {
	if took := <-j.waited; took < 900*time.Millisecond || took > 10*time.Second {
		j.Errorf("a caller that waits 1 s had its answer after %v", took)
	}
}

// finalStates looks at what was pushed before the step.
func (j *jumped) finalStates() {
	m, err := j.backend.Message(j.Context(), j.acked.ID, 0)
	if forgotten := j.by > retained; forgotten && code(err) != "message-not-found" || !forgotten && (err != nil || m.Status != client.Acked || !m.FinalAt.Equal(j.acked.FinalAt)) {
		j.Errorf("what was acked is %+v, %v; want %+v, or not found after its retention", m, err, j.acked)
	}
	for _, was := range []client.Message{j.short, j.long} {
		want := client.Queued
		if j.by > was.ExpiresAt.Sub(was.CreatedAt) {
			want = client.Expired
		}
		m, err := j.backend.Message(j.Context(), was.ID, 0)
		if err != nil || m.Status != want || !m.ExpiresAt.Equal(was.ExpiresAt) {
			j.Errorf("expires at %v, while the clock shows %v: %+v, %v; want %s", was.ExpiresAt, j.clock.Now(), m, err, want)
		}
		if m.Status == client.Expired && (m.FinalAt.Before(was.ExpiresAt) || !j.near(m.FinalAt)) {
			j.Errorf("expired at %v, while the clock shows %v", m.FinalAt, j.clock.Now())
		}
	}
}

// keys looks at idempotency keys, which last by the clock.
func (j *jumped) keys() {
	again := j.push("nobody", "keyed", client.Push{TTL: longTTL, IdempotencyKey: "k"})
	if replayed := j.by < keyLife; again.Replayed != replayed || (again.ID == j.first.ID) != replayed {
		j.Errorf("the key again: replayed %v as %s; the first is %s", again.Replayed, again.ID, j.first.ID)
	}
}

// drains looks at what is delivered after the step: all of it but what has
// expired, in order.
func (j *jumped) drains() {
	var away inbox
	want := []string{"last"}
	for _, was := range []client.Message{j.long, j.short} {
		if j.by < was.ExpiresAt.Sub(was.CreatedAt) {
			want = slices.Insert(want, 0, map[string]string{j.short.ID: "short", j.long.ID: "long"}[was.ID])
		}
	}
	j.push("away", "last", client.Push{})
	<-connect(j.T, j.app, "away", away.take)
	waitFor(j.T, func() bool { return slices.Contains(away.list(), "last") })
	if got := away.list(); !slices.Equal(got, want) {
		j.Errorf("the device that was away got %q, want %q", got, want)
	}
	events := j.app.gw.SubscribeNow()
	m := j.push("device", "after", client.Push{Wait: 10 * time.Second})
	if m.Status != client.Acked || !j.near(m.CreatedAt) || !j.near(m.SentAt) || !j.near(m.FinalAt) || m.ExpiresAt.Sub(m.CreatedAt) != day {
		j.Errorf("pushed after the step, while the clock shows %v: %+v", j.clock.Now(), m)
	}
	j.mute.say("DATA 1 up\n")
	for seen := map[gateway.EventType]bool{}; !seen[gateway.EventMessageAcked] || !seen[gateway.EventMessageReceived]; {
		batch, err := events.Next(j.Context(), nil)
		if err != nil {
			j.Fatal(err)
		}
		for _, e := range batch {
			if seen[e.Type] = true; !j.near(e.At) {
				j.Errorf("%s at %v, while the clock shows %v", e.Type, e.At, j.clock.Now())
			}
		}
	}
	if got := j.device.list(); !slices.Equal(got, []string{"before", "after"}) {
		j.Errorf("the connected device got %q", got)
	}
	waitFor(j.T, func() bool { c := j.info("away"); return c.Queued == 0 && c.InFlight == 0 })
}

// noticed looks at the log, the metrics and what doctor is told.
func (j *jumped) noticed() {
	forwards, backwards := 0, 0
	switch {
	case j.by > bigJump:
		forwards = 1
	case j.by < -bigJump:
		backwards = 1
	}
	wantMetric(j.T, j.app, fmt.Sprintf(`longwire_clock_jumps_total{direction="forwards"} %d`, forwards))
	wantMetric(j.T, j.app, fmt.Sprintf(`longwire_clock_jumps_total{direction="backwards"} %d`, backwards))
	var sizes []time.Duration
	for line := range strings.Lines(j.log.String()) {
		var e struct {
			Msg string
			By  time.Duration
		}
		if json.Unmarshal([]byte(line), &e) == nil && strings.HasPrefix(e.Msg, "the wall clock has jumped") {
			sizes = append(sizes, e.By)
		}
	}
	if len(sizes) != forwards+backwards || len(sizes) == 1 && sizes[0] != j.by {
		j.Errorf("the log has jumps by %v, want one by %v if that is more than an hour", sizes, j.by)
	}
	if j.app.cfg.Data.Engine == config.EngineMemory {
		return
	}
	status, said := askAdmin(j.T, j.app.cfg.Data.Dir, "GET", "/stats", "")
	said, _ = said["clock"].(map[string]any)
	if status != http.StatusOK || said["jumps"] != float64(forwards+backwards) {
		j.Errorf("the admin socket says of the clock %v (%d)", said, status)
	}
	if last, _ := said["last_jump"].(map[string]any); forwards+backwards > 0 && last["by_seconds"] != j.by.Seconds() {
		j.Errorf("the admin socket says of the last jump %v, want one by %v", last, j.by)
	}
}

// rests looks whether something spins: a timer that is always due asks the clock
// thousands of times a second.
func (j *jumped) rests() {
	before, began := j.clock.looks.Load(), time.Now()
	waitFor(j.T, func() bool { return time.Since(began) > time.Second/2 })
	if n := j.clock.looks.Load() - before; n > 100 {
		j.Errorf("an idle gateway has looked at the clock %d times in half a second", n)
	}
}

// A signed token lasts by the clock as it is when its device registers.
func TestSignedTokensAfterTheClockJumped(t *testing.T) {
	for _, jump := range jumps {
		t.Run(jump.name, func(t *testing.T) {
			t.Parallel()
			born := time.Now()
			token, keys := signedToken(t, map[string]any{"sub": "meter-1", "nbf": born.Add(jump.by - time.Minute).Unix(),
				"exp": born.Add(jump.by + 10*time.Minute).Unix()})
			cfg := testConfig(t.TempDir())
			cfg.Auth.DeviceJWTKeys, cfg.Auth.DeviceJWTLeeway = keys, 0
			a, clock, _ := startStepped(t, cfg)
			clock.Step(jump.by)
			l := wantAnswer(t, a, nil, "REGISTERED", "meter-1", token)
			if _, err := backend(t, a).Push(t.Context(), "meter-1", client.Push{Payload: client.Text("stay")}); err != nil {
				t.Fatal(err)
			}
			if got := l.hear(); !strings.HasSuffix(got, " stay\n") {
				t.Errorf("the device heard %q", got)
			}
			clock.Step(20 * time.Minute)
			wantAnswer(t, a, nil, "CLOSE 3501", "meter-1", token)
		})
	}
}

// Lists are in the order of ids, so an id must not fall behind those before it.
func TestIDsRiseWhenTheClockIsSetBack(t *testing.T) {
	before := newID()
	synctest.Test(t, func(t *testing.T) { // whose clock begins in the year 2000
		if after := newID(); bytes.Compare(before[:], after[:]) >= 0 {
			t.Errorf("%x is followed by %x", before, after)
		}
	})
}

// Lists find messages by their time, also those from after a step back of the clock.
func TestMessagesByTimeAfterAStepBack(t *testing.T) {
	a, clock, _ := startStepped(t, testConfig(t.TempDir()))
	api := backend(t, a)
	push := func() string {
		t.Helper()
		r, err := api.Push(t.Context(), "meter-1", client.Push{Payload: client.Text("x"), QueueUnknown: true})
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	first := push()
	middle := clock.Now().Add(-10 * time.Minute)
	clock.Step(-time.Hour)
	second, third := push(), push()
	for _, c := range []struct {
		name string
		q    client.MessageQuery
		want []string
	}{
		{"all", client.MessageQuery{}, []string{third, second, first}},
		{"before", client.MessageQuery{Before: middle.Format(time.RFC3339)}, []string{third, second}},
		{"before, oldest first", client.MessageQuery{Before: middle.Format(time.RFC3339), OldestFirst: true}, []string{second, third}},
		{"since", client.MessageQuery{Since: middle}, []string{first}},
	} {
		var got []string
		for m, err := range api.Messages(t.Context(), c.q) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
