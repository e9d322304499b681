package real

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/protocol"
)

const client = "c"

// fault is an event that a config allows a limited number of times.
type fault uint8

const (
	cut        fault = iota // an end of a connection gives up
	crash                   // the gateway loses its unsynced records, or all but the one that is being synced
	restart                 // the device comes back with its saved state
	wipe                    // the device comes back with nothing
	clockAhead              // the gateway's clock passes an expiry
	clockBack               // and steps back
	cancel                  // by a caller
	refusal                 // REGISTER is refused by the store
	replaced                // the gateway has another store
	diskFull                // and has room again
	deaf                    // the device does not answer an ASK
	slowAck                 // an ack timeout passes
	fires                   // a timer of the gateway fires
	postponed               // the device answers retry later
	odd                     // the device answers a payload with "not handled", or a handled ASK with "verdict not kept"
	busy                    // the device answers "working"
	again                   // the device repeats an uplink
	faults
)

var faultNames = [faults]string{"cut", "gateway crash", "device restart", "device wiped", "clock ahead", "clock back",
	"cancel", "refusal", "store replaced", "disk full", "ASK ignored", "ack timeout", "timer", "retry later", "odd answer",
	"working", "uplink again"}

func (f fault) String() string { return faultNames[f] }

// config is the size of a world.
type config struct {
	name     string
	messages int
	at       int // so many of them are in the store at the beginning
	uplinks  int
	window   []int
	ttl      []int // these messages expire when the clock is ahead
	large    int   // this message fits no connection
	shrinks  bool  // the second connection is too narrow for the first message
	attempts int
	limit    [faults]int
	more     [faults]int // in addition, in the long form
	verdicts []verdict   // of the device's handler, beside ok
	only     bool        // and ok is none of them

	slow   bool   // syncs wait for the explorer
	small  bool   // needs small bounds
	sure   bool   // the ledger is large enough for every verdict
	forged uint64 // ask_through of the device at the beginning
	steps  int    // of one execution; 0 = 60

	progress bool // check at the end of each execution that all ends well
}

// ghost is the memory of the checks.
type ghost struct {
	given    map[uint64][]verdict // by the device's handler
	handled  map[uint64]bool      // by the ledger that the device has now
	received map[uint64]bool      // as a payload, likewise
	silent   map[uint64]int       // transmissions in this process without those that were answered retry later
	before   map[uint64]int       // the same of the process before
	told     map[uint64]string
	acked    []string // payloads of uplinks
	canceled bool
	ahead    bool
}

type world struct {
	cfg       *config
	x         *run
	wire      *protocol.Config
	templates []template
	p         *process
	dev       *dev
	conns     [2]*conn
	connects  int
	accepted  int
	offset    time.Duration
	spent     [faults]int
	swept     bool

	mu     sync.Mutex
	ghost  ghost
	broken string
	seen   []gateway.Delivery // durable
	stored []string           // uplinks, durable
	read   int                // store.durable when these were read, -1 for not yet
}

// template is a store with its messages.
type template struct {
	mem *vfs.MemFS
	log string
}

func newTemplate(c *config) template {
	t := template{mem: vfs.NewCrashableMem()}
	e, err := engine.Open(engineOptions(newDisk(t.mem), time.Now))
	if err != nil {
		panic(err)
	}
	t.log = string(e.Log())
	for i := range c.messages {
		var id [16]byte
		id[6], id[8], id[15] = 0x70, 0x80, byte(i+1)
		gw := gateway.New(gateway.Config{Store: e, NewID: func() [16]byte { return id }})
		if i < c.at {
			if _, err := gw.Push(context.Background(), c.push(i+1)); err != nil {
				panic(err)
			}
		}
	}
	if err := e.Close(); err != nil {
		panic(err)
	}
	return t
}

// push is message m.
func (c *config) push(m int) gateway.PushRequest {
	r := gateway.PushRequest{To: gateway.Audience{Client: client}, QueueUnknown: true, Payload: fmt.Appendf(nil, "m%d", m), TTL: 24 * time.Hour}
	if slices.Contains(c.ttl, m) {
		r.TTL = time.Hour
	}
	if c.shrinks && m == 1 {
		r.Payload = []byte(strings.Repeat("m", 64))
	}
	if m == c.large {
		r.Payload = []byte(strings.Repeat("m", 8<<10))
	}
	return r
}

func newWorld(x *run) *world {
	c := x.cfg
	w := &world{cfg: c, x: x, templates: x.templates, accepted: c.at, read: -1,
		wire: &protocol.Config{Heartbeat: time.Hour, RegisterTimeout: time.Hour, AckTimeout: 10 * time.Second, MaxWindow: 8, MaxPayload: 4 << 10}}
	w.forget()
	saved := device.Saved{}
	if c.forged != 0 {
		saved = device.Saved{Log: w.templates[0].log, AskThrough: c.forged}
	}
	w.start(newDisk(w.templates[0].mem.CrashClone(vfs.CrashCloneCfg{})))
	w.dev = newDev(w, saved)
	w.settle()
	return w
}

// forget makes the ghost know nothing of deliveries.
func (w *world) forget() {
	w.ghost = ghost{given: map[uint64][]verdict{}, handled: map[uint64]bool{}, received: map[uint64]bool{},
		silent: map[uint64]int{}, before: map[uint64]int{}, told: map[uint64]string{}}
}

// now is the clock by which messages expire.
func (w *world) now() time.Time { return time.Now().Add(w.offset) }

func (w *world) cover(what string) {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.x.covered[what]++
}

func (w *world) coverCode(e protocol.Event) {
	to := "payload"
	if e.Ask {
		to = "ASK"
	}
	w.cover(fmt.Sprintf("ACK %s to %s", e.Code, to))
}

type moveKind uint8

const (
	mvAccept moveKind = iota
	mvCommit
	mvSync
	mvSweep
	mvCancel
	mvCrash
	mvReplace
	mvClock
	mvFull
	mvGateRead
	mvRefuse
	mvGateClose
	mvTimeout
	mvTimer
	mvConnect
	mvDeviceRead
	mvIgnore
	mvForget
	mvDeviceClose
	mvDecide
	mvWorking
	mvRestart
	mvSendUplink
)

var moveNames = [...]string{"accept", "commit", "sync", "sweep", "cancel", "gateway crashes", "store replaced", "clock", "disk full",
	"gateway reads", "gateway refuses", "gateway closes", "ack timeout", "timer", "connect", "device reads", "device ignores", "device has forgotten the verdict",
	"device closes", "decide", "working", "device restarts", "send uplink"}

// move is one step. a is a sequence, a connection or a new value; b a verdict.
type move struct {
	kind moveKind
	a, b uint8
}

func (m move) String() string {
	if m.kind == mvDecide {
		return fmt.Sprintf("the device decides on %d: %s", m.a, verdict(m.b))
	}
	return fmt.Sprintf("%s %d", moveNames[m.kind], m.a)
}

func (w *world) may(f fault) bool {
	n := w.cfg.limit[f]
	if w.x.long {
		n += w.cfg.more[f]
	}
	return w.spent[f] < n
}

func (w *world) spend(f fault) {
	w.spent[f]++
	w.cover(faultNames[f])
}

// moves returns all that can happen next.
func (w *world) moves() (l []move) {
	add := func(k moveKind, a, b int) { l = append(l, move{k, uint8(a), uint8(b)}) }
	d, disk := w.dev, w.p.disk
	held := disk.held()
	if held {
		add(mvSync, 0, 0)
	} else if w.cfg.slow && w.p.e.Waiting() > 0 {
		add(mvCommit, 0, 0)
	}
	for no, c := range w.conns {
		if c == nil || !c.open {
			continue
		}
		if len(c.up) > 0 && !c.slow {
			add(mvGateRead, no, 0)
			if c.gw == nil && w.may(refusal) {
				add(mvRefuse, no, 0)
			}
		}
	}
	if d.c != nil && len(d.c.down) > 0 {
		add(mvDeviceRead, 0, 0)
		if d.c.down[0][1]&0x40 != 0 && w.may(deaf) {
			add(mvIgnore, 0, 0)
		}
		if d.c.down[0][1]&0x40 != 0 && w.may(odd) {
			add(mvForget, 0, 0)
		}
	}
	jobs := make([]uint64, 0, 4)
	for seq := range d.jobs {
		jobs = append(jobs, seq)
	}
	slices.Sort(jobs)
	for _, seq := range jobs {
		if !w.cfg.only {
			add(mvDecide, int(seq), int(plain))
		}
		for _, v := range w.cfg.verdicts {
			if v == later && !w.may(postponed) || v == oddly && !w.may(odd) {
				continue
			}
			add(mvDecide, int(seq), int(v))
		}
		if d.registered && d.asks && w.may(busy) {
			add(mvWorking, int(seq), 0)
		}
	}
	if d.registered {
		for i, u := range d.up {
			if !u.sent {
				add(mvSendUplink, i, 0)
			} else if w.may(again) {
				add(mvSendUplink, i, 1)
			}
		}
	}
	if d.c == nil {
		for no, c := range w.conns {
			if c == nil || !c.open && !c.device {
				add(mvConnect, no, 0)
				break
			}
		}
	} else if !d.c.open || w.may(cut) {
		add(mvDeviceClose, 0, 0)
	}
	for no, c := range w.conns {
		if c != nil && c.open && (!c.device || w.may(cut)) {
			add(mvGateClose, no, 0)
		}
		if c != nil && c.open && !c.slow && c.gw != nil && c.proto.InFlight() > 0 && w.may(slowAck) {
			add(mvTimeout, no, 0)
		}
	}
	if w.may(fires) {
		for kind := uint8(settlePause + 1); kind <= 5; kind++ {
			if w.p.count(kind) > 0 {
				add(mvTimer, int(kind), 0)
			}
		}
	}
	if w.accepted < w.cfg.messages {
		add(mvAccept, w.accepted+1, 0)
	}
	for i, s := range w.seen {
		if s.State.Final() {
			continue
		}
		if w.offset > 0 && slices.Contains(w.cfg.ttl, i+1) && !w.swept {
			add(mvSweep, i+1, 0)
		}
		if w.may(cancel) {
			add(mvCancel, i+1, 0)
		}
	}
	if w.may(crash) {
		add(mvCrash, 0, 0)
		if held {
			add(mvCrash, 1, 0)
		}
	}
	if w.may(replaced) {
		add(mvReplace, 0, 0)
	}
	if w.offset == 0 && w.may(clockAhead) {
		add(mvClock, 1, 0)
	}
	if w.offset > 0 && w.may(clockBack) {
		add(mvClock, 0, 0)
	}
	if disk.full || w.may(diskFull) {
		add(mvFull, 0, 0)
	}
	if w.may(restart) {
		add(mvRestart, 0, 0)
	}
	if w.may(wipe) {
		add(mvRestart, 1, 0)
	}
	return l
}

// do makes one move, waits until nothing moves, and checks the promises.
func (w *world) do(m move) {
	d, p := w.dev, w.p
	for _, c := range w.conns {
		if c != nil {
			c.now = c.now.Add(time.Millisecond)
		}
	}
	d.now = d.now.Add(time.Millisecond)
	switch m.kind {
	case mvAccept:
		w.accepted++
		p.call(func(ctx context.Context) { _, _ = p.gw.Push(ctx, w.cfg.push(int(m.a))) })
	case mvCommit:
		time.Sleep(51 * time.Millisecond)
	case mvSync:
		p.store.release()
	case mvSweep:
		w.swept = true
		for i, s := range w.seen {
			if !s.State.Final() && slices.Contains(w.cfg.ttl, i+1) {
				p.store.note("sweep %v", w.offset)
			}
		}
		at := w.now()
		p.call(func(context.Context) { _ = p.e.Expire(at) })
	case mvCancel:
		w.spend(cancel)
		w.ghost.canceled = true
		id := w.seen[m.a-1].Message
		p.call(func(ctx context.Context) { _, _ = p.gw.Cancel(ctx, id) })
	case mvCrash:
		w.spend(crash)
		w.restartGateway(p.disk.crashed(m.a == 1))
	case mvReplace:
		w.spend(replaced)
		w.forget()
		w.restartGateway(w.templates[1].mem.CrashClone(vfs.CrashCloneCfg{}))
	case mvClock:
		if m.a == 1 {
			w.spend(clockAhead)
			w.ghost.ahead = true
			w.offset = 2 * time.Hour
		} else {
			w.spend(clockBack)
			w.offset = 0
		}
		w.swept = false
	case mvFull:
		if !p.disk.full {
			w.spend(diskFull)
			p.disk.set(func() { p.disk.full = true })
			break
		}
		p.disk.set(func() { p.disk.full = false })
		time.Sleep(300 * time.Millisecond) // the engine looks for it
	case mvGateRead:
		w.conns[m.a].receive()
	case mvRefuse:
		w.spend(refusal)
		w.refuse(w.conns[m.a])
	case mvGateClose:
		c := w.conns[m.a]
		if c.device {
			w.spend(cut)
		}
		c.lose()
	case mvTimeout:
		w.spend(slowAck)
		w.conns[m.a].timeout()
	case mvTimer:
		w.spend(fires)
		p.fire(m.a)
	case mvConnect:
		d.connect(w.accept(m.a))
	case mvDeviceRead:
		d.receive(heeds)
	case mvIgnore:
		w.spend(deaf)
		d.receive(ignores)
	case mvForget:
		w.spend(odd)
		d.receive(forgets)
	case mvDeviceClose:
		if d.c.open {
			w.spend(cut)
		}
		d.disconnect()
	case mvDecide:
		switch verdict(m.b) {
		case later:
			w.spend(postponed)
		case oddly:
			w.spend(odd)
		}
		d.decide(uint64(m.a), verdict(m.b))
	case mvWorking:
		w.spend(busy)
		d.working(uint64(m.a))
	case mvRestart:
		if m.a == 0 {
			w.spend(restart)
		} else {
			w.spend(wipe)
			clear(w.ghost.handled)
			clear(w.ghost.received)
		}
		d.restart(m.a == 1)
	case mvSendUplink:
		if m.b == 1 {
			w.spend(again)
		}
		d.sendUplink(int(m.a))
	}
	w.settle()
}

// restartGateway ends the process and starts another one.
func (w *world) restartGateway(disk *vfs.MemFS) {
	w.p.stop()
	w.ghost.before, w.ghost.silent = w.ghost.silent, map[uint64]int{}
	w.read = -1
	w.swept = false
	w.start(newDisk(disk))
}

// refuse makes the store refuse a REGISTER, and compares client and queue.
func (w *world) refuse(c *conn) {
	state := func() string {
		r, err := w.p.e.Client(client)
		return fmt.Sprintf("%+v %v %+v", r, err, w.seen)
	}
	before := state()
	w.p.store.refuse = true
	c.receive()
	w.idle()
	for w.p.disk.held() {
		w.p.store.release()
		w.idle()
	}
	w.p.store.refuse = false
	w.look()
	if after := state(); before != after {
		w.fail("a refused REGISTER changed the store: %s, was %s", after, before)
	}
}

// idle waits until nothing moves.
func (w *world) idle() {
	synctest.Wait()
	for !w.cfg.slow && w.p.e.Waiting() > 0 && w.p.e.Health() == nil {
		time.Sleep(51 * time.Millisecond)
		synctest.Wait()
	}
	// A session that looks again for durable verdicts does so after each move.
	for range w.p.count(settlePause) {
		w.p.fire(settlePause)
	}
	synctest.Wait()
	w.p.store.settled()
}

// settle is idle, and checks what callers see.
func (w *world) settle() {
	w.idle()
	w.look()
	w.p.mu.Lock()
	told := w.p.told
	w.p.told = nil
	w.p.mu.Unlock()
	for i := range told {
		w.told(&told[i])
	}
	w.checkUplinks()
}

// release lets the sync that waits go on.
func (s *store) release() {
	s.mu.Lock()
	s.durable = min(s.durable+s.committed()-s.base, len(s.ops))
	s.base = s.committed()
	s.mu.Unlock()
	s.p.disk.release()
}

// settled notes that nothing is on its way.
func (s *store) settled() {
	if s.p.disk.held() || s.p.e.Waiting() > 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable, s.base = len(s.ops), s.committed()
}

// look reads what is durable.
func (w *world) look() {
	s := w.p.store
	if s.durable == w.read {
		return
	}
	w.read = s.durable
	page, err := w.p.e.ClientDeliveries(gateway.ClientDeliveryQuery{Client: client, Limit: 10})
	if err != nil && gateway.CodeOf(err) != gateway.CodeClientNotFound {
		return // the disk is full
	}
	slices.Reverse(page.Items)
	w.seen = page.Items
	for i := range w.seen {
		if w.seen[i].State.Final() {
			w.told(&w.seen[i])
		}
	}
	ups, err := w.p.e.Uplinks(client, 0, 10)
	if err != nil {
		return
	}
	w.stored = w.stored[:0]
	for _, u := range ups.Items {
		w.stored = append(w.stored, string(u.Payload))
	}
}
