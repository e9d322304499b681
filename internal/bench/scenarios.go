package bench

import (
	"fmt"
	"slices"
	"strings"
)

// scenario is one kind of load on one state of the clients, with its budgets.
type scenario struct {
	heading
	measure func(*run, *Scenario) // fills in tables, charts and values
	budgets []budget
}

// Loads and sides of several scenarios.
var (
	push       = load{what: pushes, callers: 128, delivered: true}
	pushWait   = load{what: pushes, callers: 128, wait: true}
	pushOnline = load{what: pushes, callers: 128, online: true}
	pushQueue  = load{what: pushes, callers: 256}

	bare    = spec{role: bareServer}
	syncing = spec{role: bareSyncing}

	sweep = []float64{0.1, 0.25, halfRate, 0.75, 0.9}
)

// known is the number of offline clients of a load: enough to stay below the bounds
// of their queues.
const known = 1000

// few is the number of clients of a load that is not about clients.
func (o *Options) few() int { return min(100, o.Clients) }

func bulk(n int) load { return load{what: lines, callers: 1, lines: n} }

// scenarios has every kind of load, in the order of the report. The default path
// comes first.
func (o *Options) scenarios() []scenario {
	online, bareLoop := spec{role: gatewayServer, connected: o.Clients}, spec{role: bareServer, connected: o.Clients}
	return []scenario{
		{heading: heading{Name: "push", Title: "Durable push to a connected device (the default path)",
			State: "devices are connected over v2 and ack at once",
			Load:  "128 HTTP callers, 202 after fsync; a round ends when each ack is stored"},
			measure: compare{shares: sweep, wrk: true, sides: []side{{spec: online, load: push}, {spec: bare, load: push}}}.take,
			budgets: []budget{
				{What: "durable push, connected: rate to bare chi", Value: valueRate, Unit: ratio, Must: 0.45, Stretch: 0.55, AtLeast: true},
				{What: "the same, CPU to bare chi", Value: valueCPU, Unit: ratio, Must: 2.6, Stretch: 2.1},
				{What: "the same, p99 to bare chi at half of the rate", Value: valueP99, Unit: ratio, Must: 2.5, Stretch: 1.5},
				{What: "the same, rate under wrk", Value: wrkPrefix + valueRate, Unit: ratio, Must: 0.45, Stretch: 0.55, AtLeast: true},
				{What: "the same, CPU under wrk", Value: wrkPrefix + valueCPU, Unit: ratio, Must: 2.6, Stretch: 2.1}}},
		{heading: heading{Name: "push-wait", Title: "Durable push with ?wait, answered after the device's ack",
			State: "devices are connected over v2 and ack at once",
			Load:  "128 HTTP callers, 200 after the ack is stored"},
			measure: compare{wrk: true, sides: []side{{spec: online, load: pushWait}, {spec: bare, load: pushWait}}}.take,
			budgets: []budget{
				{What: "durable push, ?wait, connected: rate to bare chi", Value: valueRate, Unit: ratio, Must: 0.40, Stretch: 0.50, AtLeast: true},
				{What: "the same, rate under wrk", Value: wrkPrefix + valueRate, Unit: ratio, Must: 0.40, Stretch: 0.50, AtLeast: true}}},
		{heading: heading{Name: "push-webhook", Title: "Durable push to a connected device beside a webhook",
			State: "devices are connected over v2 and ack at once; one webhook selects none of the events, or posts every ack",
			Load:  "128 HTTP callers, 202 after fsync; a round ends when each ack is stored and, if it is posted, has come"},
			measure: compare{sides: []side{{spec: spec{role: gatewayServer, connected: o.Clients, hook: quietHook}, load: push},
				{spec: online, load: push}, {spec: spec{role: gatewayServer, connected: o.Clients, hook: ackHook}, load: push}}}.take,
			budgets: []budget{
				{What: "durable push beside a webhook that selects none: rate to none", Value: valueRate, Unit: ratio, Must: 0.9, Stretch: 0.97, AtLeast: true},
				{What: "the same, CPU to none", Value: valueCPU, Unit: ratio, Must: 1.1, Stretch: 1.05}}},
		{heading: heading{Name: "webhook", Title: "A webhook posts the events of the log",
			State: "devices are connected and ack at once; a webhook posts every ack",
			Load:  "8 requests at once: a backlog, and a bare HTTP client with the same bodies; then 200 pushes a second"},
			measure: measureWebhook,
			budgets: []budget{{What: "webhook: events a second to a bare HTTP client", Value: valueRate, Unit: ratio, Must: 0.5, Stretch: 0.7, AtLeast: true}}},
		{heading: heading{Name: "timeline", Title: "Durable push with and without timelines",
			State: "devices are connected over v2 and ack at once",
			Load:  "128 HTTP callers, 202 after fsync; a round ends when each ack is stored"},
			measure: compare{sides: []side{{spec: online, load: push},
				{name: "timelines off", spec: spec{role: gatewayServer, connected: o.Clients, flag: "--events-timeline=false"}, load: push}}}.take,
			budgets: []budget{{What: "durable push with timelines: CPU to one without", Value: valueCPU, Unit: ratio, Must: 1.05, Stretch: 1.02}}},
		{heading: heading{Name: "growth", Title: "CPU of a durable push over connected devices and stored messages",
			State: "devices are connected and ack at once; the queued messages are for other clients, which are offline",
			Load:  "128 HTTP callers, 202; a round ends when each ack is stored"},
			measure: compare{bars: true, sides: []side{
				{spec: spec{role: gatewayServer, connected: o.few()}, load: push}, {spec: online, load: push}, {spec: spec{role: gatewayServer, connected: o.Most}, load: push},
				{spec: spec{role: gatewayServer, connected: o.Clients, queued: max(1, o.Queued/10)}, load: push}, {spec: spec{role: gatewayServer, connected: o.Clients, queued: o.Queued}, load: push}}}.take},
		{heading: heading{Name: "push-online", Title: "Push with mode=online, answered after the device's ack",
			State: "devices are connected over v2 and ack at once",
			Load:  "128 HTTP callers, 200; nothing is stored"},
			measure: compare{shares: sweep, sides: []side{{spec: online, load: pushOnline}, {spec: bare, load: pushOnline}}}.take,
			budgets: []budget{{What: "mode=online push, connected: rate to bare chi", Value: valueRate, Unit: ratio, Must: 0.50, Stretch: 0.60, AtLeast: true}}},
		{heading: heading{Name: "push-offline", Title: "Durable push to offline devices (202 after fsync)",
			State: "clients are registered and offline; nothing is delivered",
			Load:  "256 HTTP callers, 202"},
			measure: compare{shares: sweep, sides: []side{{spec: spec{role: gatewayServer, offline: known}, load: pushQueue},
				{spec: bare, load: pushQueue}, {spec: syncing, load: pushQueue}}}.take,
			budgets: []budget{{What: "durable push, offline: rate to bare chi", Value: valueRate, Unit: ratio, Must: 0.50, Stretch: 0.60, AtLeast: true}}},
		{heading: heading{Name: "bulk", Title: "Bulk push (NDJSON), durable",
			State: "devices are connected and ack at once",
			Load:  "one caller, one request after another, each line delivered and its ack stored; single pushes for comparison"},
			measure: compare{sides: []side{
				{name: "1,000 lines", spec: online, load: bulk(1000)}, {name: "single pushes", spec: online, load: push}, {name: "100 lines", spec: online, load: bulk(100)},
				{name: "10 lines", spec: online, load: bulk(10)}, {name: "1 line", spec: online, load: bulk(1)},
				{name: "bare server, 1,000 lines", spec: bareLoop, load: bulk(1000)}}}.take,
			budgets: []budget{{What: "bulk line, durable, acked: CPU to a single push", Value: valueCPU, Unit: ratio, Must: 0.25, Stretch: 0.15}}},
		{heading: heading{Name: "push-all", Title: "One message to all",
			State: "devices are connected and ack at once",
			Load:  "one caller, one broadcast after another, until the acks of all are stored"},
			measure: compare{sides: []side{{spec: online, load: load{what: broadcasts}}, {name: "bare loop", spec: bareLoop, load: load{what: broadcasts}}}}.take,
			budgets: []budget{{What: "push to all: CPU per delivery to a bare loop", Value: valueCPU, Unit: ratio, Must: 1.05, Stretch: 0.95}}},
		{heading: heading{Name: "accept", Title: "Durable accept in the engine",
			State: "clients are registered and offline",
			Load:  "256 callers in this process, no HTTP"},
			measure: compare{sides: []side{{name: "engine", load: load{what: accepts, callers: 256}}, {name: "append + group fdatasync", load: load{what: appends, callers: 256}}}}.take,
			budgets: []budget{{What: "durable accept to append + group fdatasync", Value: valueRate, Unit: ratio, Must: 0.55, Stretch: 0.75, AtLeast: true}}},
		{heading: heading{Name: "uplink", Title: "Uplink: device, store, ack",
			State: "256 connected devices, which send",
			Load:  "each device sends 64 bytes and waits for the ack"},
			measure: compare{shares: sweep, sides: []side{{spec: spec{role: gatewayServer}, load: load{what: uplinks, callers: 256}},
				{name: "bare echo + fdatasync", spec: syncing, load: load{what: uplinks, callers: 256}}, {name: "bare echo", spec: bare, load: load{what: uplinks, callers: 256}}}}.take},
		{heading: heading{Name: "broadcast", Title: "Single pushes beside broadcasts",
			State: "devices are connected and ack at once",
			Load:  "single mode=online pushes at a fixed rate, alone and while one broadcast to all follows another"},
			measure: measureBroadcasts},
		{heading: heading{Name: "storm", Title: "All devices are lost and come back at once",
			State: "a tenth of the devices stays connected; the others lose their connections in one moment",
			Load:  "up to 2,000 dials at a time; a refused device tries again; 200 mode=online pushes a second to those that stayed"},
			measure: measureStorm,
			budgets: []budget{{What: "registrations a second in a storm", Value: valueRate, Unit: perSecond, Must: 15_000, Stretch: 25_000, AtLeast: true}}},
		{heading: heading{Name: "memory", Title: "Memory per idle client",
			State: "devices are connected and have sent one heartbeat",
			Load:  "none"},
			measure: footprint{upTo: o.Clients, steps: []float64{1}, repeat: 3, sides: []footprintSide{{valuePlain, gatewayServer, 1}, {valueTLS, gatewayTLS, 1}}}.take,
			budgets: []budget{
				{What: "memory per idle client, plain", Value: valuePlain, Unit: bytesEach, Must: 1.2 * 1024, Stretch: 1024},
				{What: "memory per idle client, TLS", Value: valueTLS, Unit: bytesEach, Must: 7.8 * 1024, Stretch: 6 * 1024},
				{What: "goroutines per idle client, plain", Value: valueGoroutines, Unit: number, Must: 0}}},
		{heading: heading{Name: "connect", Title: "Devices connect and stay",
			State: "devices are connected and have sent one heartbeat",
			Load:  "64 dials at a time, step by step"},
			measure: footprint{upTo: o.Most, steps: []float64{1. / 15, 1. / 6, 1. / 3, 2. / 3, 1}, repeat: 1,
				sides: []footprintSide{{valuePlain, gatewayServer, 1}, {valueTLS, gatewayTLS, 1. / 3}, {"bare", bareServer, 1}}}.take},
		{heading: heading{Name: "idle", Title: "Idle devices with heartbeats",
			State: "devices are connected and only answer heartbeats",
			Load:  "heartbeats at the rate of all devices at the interval; fewer devices beat once a second in their place"},
			measure: measureHeartbeats},
		{heading: heading{Name: "list", Title: "Pages of the client list",
			State: "clients are registered and online without sockets",
			Load:  "one caller, pages of 100 one after another"},
			measure: measurePages,
			budgets: []budget{{What: "page of the client list, slowest kind", Value: valuePage, Unit: milliseconds, Must: 3, Stretch: 1}}},
		{heading: heading{Name: "sessions", Title: "A million sessions while others are served",
			State: "clients are online without sockets and ack at once",
			Load:  "pushes, pages and registrations at fixed rates; garbage collections as they come, then one after another"},
			measure: measureSessions},
		{heading: heading{Name: "restart", Title: "Restart with queued messages",
			State: "clients are offline with 100 messages each",
			Load:  "start to a green /readyz"},
			measure: measureRestart,
			budgets: []budget{{What: "restart to ready, slowest", Value: valueReady, Unit: seconds, Must: 1, Stretch: 0.2, Worst: true}}},
	}
}

// Names lists the scenarios.
func Names() []string {
	var names []string
	for _, s := range new(Options).scenarios() {
		names = append(names, s.Name)
	}
	return names
}

// chosen returns the named scenarios. Without names it returns those with budgets, or
// with Options.All every one.
func (o *Options) chosen() (chosen []scenario, err error) {
	for _, name := range o.Scenarios {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("there is no scenario %q; known are %s", name, strings.Join(Names(), ", "))
		}
	}
	for _, s := range o.scenarios() {
		if o.All || slices.Contains(o.Scenarios, s.Name) || len(o.Scenarios) == 0 && len(s.budgets) > 0 {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}
