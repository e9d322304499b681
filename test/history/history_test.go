//go:build unix

package history

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/protocol"
)

// size is how much a run does.
type size struct {
	kills int64
	cuts  int64
	limit time.Duration // for both
	disk  int           // MiB
}

func sizeOf() size {
	switch {
	case os.Getenv("LONGWIRE_TORTURE") != "":
		return size{kills: 500, cuts: 10_000, limit: 20 * time.Minute, disk: 1024}
	case testing.Short():
		return size{kills: 5, cuts: 100, limit: 10 * time.Second, disk: 256}
	}
	return size{kills: 20, cuts: 500, limit: 15 * time.Second, disk: 256}
}

// seed is LONGWIRE_HISTORY_SEED, or a new one.
func seed(t *testing.T) uint64 {
	text := os.Getenv("LONGWIRE_HISTORY_SEED")
	if text == "" {
		return rand.Uint64N(1_000_000)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("LONGWIRE_HISTORY_SEED: %v", err)
	}
	return n
}

// Whatever is cut and killed, the API shows what the devices did: each verdict,
// reason and result is one that the device itself gave, or the gateway's clock or
// a caller ended the delivery; what was told stays; and every uplink that was
// acked is there.
func TestHistoryIsTheDevicesOwn(t *testing.T) {
	s := seed(t)
	t.Logf("LONGWIRE_HISTORY_SEED=%d repeats the choices of this run", s)
	r := newRun(t, s)
	r.begin()
	r.disturb()
	r.settle()
	h := r.collect()
	report(t, h.check())
	r.summary(h)
	if !t.Failed() {
		h.mustNotice(t)
	}
}

// run is a gateway with its devices and callers.
type run struct {
	t       *testing.T
	size    size
	rnd     *rand.Rand
	g       *gateway
	wild    *proxy // for v2 and text
	whole   *proxy // for v1
	calm    atomic.Bool
	devices map[string]*journal
	stop    chan struct{} // ends the devices
	living  sync.WaitGroup
	callers *callers
	deaf    func() // ends the event stream
	actions map[string]int
	began   time.Time
}

func newRun(t *testing.T, seed uint64) *run {
	r := &run{t: t, size: sizeOf(), rnd: random(seed, "run"), devices: map[string]*journal{}, stop: make(chan struct{}), actions: map[string]int{}, began: time.Now()}
	r.g = newGateway(t, program(t), storeDir(t, r.size.disk))
	r.wild, r.whole = newProxy(t, r.g.tcpAddr, false, seed), newProxy(t, r.g.tcpAddr, true, seed+1)
	asking := asks
	if os.Getenv("LONGWIRE_HISTORY_LAST_SEQ") != "" {
		asking = claims
	}
	for i := range 8 {
		r.device(fmt.Sprint("ask-", i), "v2", asking, framed{}, seed)
	}
	for i := range 3 {
		r.device(fmt.Sprint("plain-", i), "v2", takesAll, framed{}, seed)
		r.device(fmt.Sprint("text-", i), "text", takesAll, lines{}, seed)
	}
	for i := range 4 {
		r.sdkDevice(fmt.Sprint("sdk-", i), "v2", protocol.V2, seed)
	}
	r.sdkDevice("sdk-text", "text", protocol.Text, seed)
	for i := range 2 {
		r.oldDevice(fmt.Sprint("old-", i), seed)
	}
	r.callers = &callers{g: r.g, book: newBook(), seed: seed, clients: slices.Sorted(maps.Keys(r.devices)), stop: make(chan struct{})}
	return r
}

func (r *run) device(id, dialect string, s style, c codec, seed uint64) {
	j := &journal{client: id, dialect: dialect}
	r.devices[id] = j
	d := newDevice(id, r.wild.addr(), s, c, seed, &r.calm, j)
	r.living.Go(func() { d.run(r.stop) })
}

func (r *run) sdkDevice(id, dialect string, as protocol.Dialect, seed uint64) {
	j := &journal{client: id, dialect: dialect}
	r.devices[id] = j
	d := newSDKDevice(r.t, id, r.wild.addr(), as, seed, &r.calm, j)
	r.living.Go(func() { d.run(r.stop) })
}

func (r *run) oldDevice(id string, seed uint64) {
	j := &journal{client: id, dialect: "v1"}
	r.devices[id] = j
	d := newOldDevice(id, r.whole.addr(), seed, &r.calm, j)
	r.living.Go(func() { d.run(r.stop) })
}

// begin starts everything; callers push when all clients are known.
func (r *run) begin() {
	r.t.Cleanup(func() {
		select {
		case <-r.stop:
		default:
			close(r.stop)
		}
		r.living.Wait()
	})
	r.g.start()
	waitWithin(r.t, time.Minute, "all clients are known", func() bool {
		_, page, err := r.callers.call("GET", "/v1/clients?status=all&limit=1000", "", "", nil)
		known := map[string]bool{}
		for _, c := range page.Items {
			known[c.ID] = true
		}
		for id := range r.devices {
			if err != nil || !known[id] {
				return false
			}
		}
		return true
	})
	<-time.After(300 * time.Millisecond) // and their registrations are on the disk
	r.callers.start()
	ctx, cancel := context.WithCancel(context.Background())
	r.callers.events.Go(func() { r.callers.follow(ctx) })
	r.deaf = func() {
		cancel()
		r.callers.events.Wait()
	}
	r.t.Cleanup(r.deaf)
}

// disturb kills, stops and fills until there was enough of it, or the time is
// over.
func (r *run) disturb() {
	deadline := time.Now().Add(r.size.limit)
	for (r.g.kills.Load() < r.size.kills || r.cuts() < r.size.cuts) && time.Now().Before(deadline) {
		<-time.After(100*time.Millisecond + upTo(r.rnd, 400*time.Millisecond))
		r.act()
	}
}

func (r *run) cuts() int64 { return r.wild.cuts.Load() + r.whole.cuts.Load() }

func (r *run) act() {
	name, act := "kill", r.kill
	switch r.rnd.IntN(10) {
	case 0:
		name, act = "kill while starting", r.killStarting
	case 1:
		name, act = "kill while draining", r.killDraining
	case 2:
		name, act = "drain", r.drain
	case 3:
		name, act = "full disk", r.fillDisk
	case 4:
		name, act = "outage and kill", r.outage
	}
	r.actions[name]++
	act()
}

// kill leaves the gateway away for a while, now and then, so that messages expire
// that nobody looks after.
func (r *run) kill() {
	r.g.trouble(func() {
		r.g.kill()
		if r.rnd.IntN(3) == 0 {
			<-time.After(upTo(r.rnd, 600*time.Millisecond))
		}
		r.g.start()
	})
}

// outage keeps all devices away for longer than a short TTL, and kills the gateway
// soon after they are back.
func (r *run) outage() {
	for _, down := range []bool{true, false} {
		r.wild.outage(down)
		r.whole.outage(down)
		if down {
			<-time.After(time.Second + upTo(r.rnd, 700*time.Millisecond))
		}
	}
	<-time.After(20*time.Millisecond + upTo(r.rnd, 200*time.Millisecond))
	r.kill()
}

func (r *run) killStarting() {
	r.g.trouble(func() {
		r.g.kill()
		r.g.spawn()
		<-time.After(upTo(r.rnd, 150*time.Millisecond))
		r.g.kill()
		r.g.start()
	})
}

func (r *run) killDraining() {
	r.g.trouble(func() {
		r.g.cmd.Process.Signal(syscall.SIGTERM)
		<-time.After(upTo(r.rnd, 400*time.Millisecond))
		r.g.kill()
		r.g.start()
	})
}

func (r *run) drain() {
	r.g.trouble(func() {
		if err := r.g.drain(); err != nil {
			r.t.Error(err)
			r.g.kill()
		}
		r.g.start()
	})
}

// fillDisk leaves less than the gateway wants, or nothing at all, and kills it
// then, or not.
func (r *run) fillDisk() {
	r.g.trouble(func() {
		left := []uint64{0, 12 << 20}[r.rnd.IntN(2)]
		free := fill(r.t, r.g.dir, left)
		<-time.After(300*time.Millisecond + upTo(r.rnd, 700*time.Millisecond))
		kill := r.rnd.IntN(3) == 0
		if kill {
			r.g.kill()
		}
		free()
		if kill {
			r.g.start()
			return
		}
		waitWithin(r.t, time.Minute, "the gateway is ready when there is room again", func() bool {
			code, _, err := r.callers.call("GET", "/readyz", "", "", nil)
			return err == nil && code == 200
		})
	})
}

// settle ends the disturbance: nothing is cut, the devices answer at once, and
// everything becomes final.
func (r *run) settle() {
	close(r.callers.stop)
	r.callers.running.Wait()
	r.wild.calm.Store(true)
	r.whole.calm.Store(true)
	r.calm.Store(true)
	waitWithin(r.t, 2*time.Minute, "every delivery is final", func() bool {
		for id := range r.devices {
			code, client, err := r.callers.call("GET", "/v1/clients/"+id, "", "", nil)
			if err != nil || code != 200 || client.Queued > 0 {
				return false
			}
		}
		return true
	})
	waitWithin(r.t, time.Minute, "every uplink is acked", func() bool {
		for _, j := range r.devices {
			if j.dialect != "v1" && j.waits() {
				return false
			}
		}
		return true
	})
	close(r.stop)
	r.living.Wait()
	r.deaf()
}

// waits reports whether an uplink is not acked.
func (j *journal) waits() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	open, unfinished := map[uint64]bool{}, map[digest]bool{}
	for _, e := range j.entries {
		switch {
		case e.what == wanted:
			unfinished[e.payload] = true
		case e.what == done:
			delete(unfinished, e.payload)
		case e.what == given:
			open[e.seq] = false
		case e.what == sent:
			if _, known := open[e.seq]; !known {
				open[e.seq] = true
			}
		case e.what == stored && e.code == codeOK:
			open[e.seq] = false
		}
	}
	for _, waits := range open {
		if waits {
			return true
		}
	}
	return len(unfinished) > 0
}

// collect reads everything that the API shows.
func (r *run) collect() *history {
	h := &history{journals: r.devices, book: r.callers.book, messages: map[string]shown{}, deliveries: map[delivery]shown{},
		uplinks: map[string][]shown{}, troubles: r.g.troubles}
	for _, m := range r.pages("/v1/messages?limit=1000") {
		full := r.get("/v1/messages/" + m.ID)
		h.messages[m.ID] = full
		if full.Deliveries == "" {
			h.deliveries[delivery{m.ID, full.Client}] = full
			continue
		}
		for _, d := range r.pages(full.Deliveries + "?limit=1000") {
			h.deliveries[delivery{m.ID, d.Client}] = d
		}
	}
	for id := range r.devices {
		for page := r.get("/v1/uplinks?limit=1000&client=" + id); ; page = r.get(fmt.Sprintf("/v1/uplinks?limit=1000&client=%s&after=%d", id, page.NextAfter)) {
			h.uplinks[id] = append(h.uplinks[id], page.Items...)
			if !page.More {
				break
			}
		}
	}
	return h
}

func (r *run) get(path string) shown {
	code, s, err := r.callers.call("GET", path, "", "", nil)
	if err != nil || code != 200 {
		r.t.Fatalf("GET %s = %d, %v", path, code, err)
	}
	return s
}

func (r *run) pages(path string) (all []shown) {
	page := r.get(path)
	all = page.Items
	for page.NextCursor != "" {
		page = r.get(path + "&cursor=" + page.NextCursor)
		all = append(all, page.Items...)
	}
	return all
}

// report shows how many faults there are by each rule, and the first of each.
func report(t *testing.T, faults []fault) {
	t.Helper()
	count := map[string]int{}
	for _, f := range faults {
		count[f.rule]++
		if count[f.rule] <= 3 {
			t.Error(f)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(count)) {
		t.Errorf("%5d × %s", count[rule], rule)
	}
}

// summary says what the run was, and that it had some of everything.
func (r *run) summary(h *history) {
	states, acts, codes, uplinks := map[string]int{}, map[what]int{}, map[byte]int{}, map[string]int{}
	for _, d := range h.deliveries {
		states[strings.TrimSpace(d.status()+" "+d.Reason)]++
		if !d.LateAckAt.IsZero() {
			states["late ack"]++
		}
	}
	for _, j := range h.journals {
		for _, e := range j.entries {
			acts[e.what]++
			if e.what == answered {
				codes[e.code]++
			}
			if e.what == stored && e.code == codeLater {
				uplinks["put off"]++
			}
		}
	}
	for _, page := range h.uplinks {
		uplinks["stored"] += len(page)
	}
	r.t.Logf("%d kills and %d cut connections in %.0f s: %d processes, %v", r.g.kills.Load(), r.cuts(), time.Since(r.began).Seconds(), r.g.lives.Load(), r.actions)
	r.t.Logf("%d messages with %d deliveries: %v; %d answers noted", len(h.messages), len(h.deliveries), states, len(h.book.notes))
	r.t.Logf("verdicts by code %v; uplinks %v; journals %v", codes, uplinks, acts)
	for _, s := range []string{"acked", "rejected device_rejected", "rejected too_large_for_protocol", "expired", "canceled"} {
		if states[s] == 0 {
			r.t.Errorf("no delivery is %s: the load was not as it should be", s)
		}
	}
	wants := []byte{codeOK, codeReject, codeLater}
	if acts[asked] > 0 {
		wants = append(wants, codeSend, codeWorking)
	}
	for _, code := range wants {
		if codes[code] == 0 {
			r.t.Errorf("no device has answered %d: the load was not as it should be", code)
		}
	}
}
