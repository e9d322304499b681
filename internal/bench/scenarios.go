package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// scenario is one kind of load on one state of the clients, with its budgets.
type scenario struct {
	name    string // for --scenario
	title   string
	state   string // of the clients
	load    string
	measure measurement
	budgets []budget
}

// measurement runs as its fields say and fills in tables, charts and values.
type measurement interface {
	take(context.Context, *run, *Scenario) error
}

// budget is one promise about a value of the scenario.
type budget struct {
	what    string
	value   string // of the scenario's values
	unit    unit
	must    float64
	stretch float64 // 0 = none
	atLeast bool    // the value must be at least so much; otherwise at most
	worst   bool    // the worst round counts, not the median
}

// Loads and sides of several scenarios.
var (
	push       = load{what: pushes, callers: 128, delivered: true}
	pushWait   = load{what: pushes, callers: 128, wait: true}
	pushOnline = load{what: pushes, callers: 128, mode: "online"}
	pushQueue  = load{what: pushes, callers: 256}

	online = spec{role: gatewayServer, connected: clients}
	sweep  = []float64{0.1, 0.25, halfRate, 0.75, 0.9}
)

func bulk(n int) load { return load{what: lines, callers: 1, lines: n} }

// scenarios has every kind of load, in the order of the report. The default path
// comes first.
var scenarios = []scenario{
	{name: "push", title: "Durable push to a connected device (the default path)",
		state: "devices are connected over v2 and ack at once", load: "128 HTTP callers, 202 after fsync; a round ends when each ack is stored",
		measure: compare{reference: 1, shares: sweep, wrk: true, sides: []side{{spec: online, load: push}, {spec: spec{role: bareServer}, load: push}}},
		budgets: []budget{
			{what: "durable push, connected: rate to bare chi", value: valueRate, unit: ratio, must: 0.45, stretch: 0.55, atLeast: true},
			{what: "the same, CPU to bare chi", value: valueCPU, unit: ratio, must: 2.6, stretch: 2.1},
			{what: "the same, p99 to bare chi at half of the rate", value: valueP99, unit: ratio, must: 2.5, stretch: 1.5},
			{what: "the same, rate under wrk", value: wrkPrefix + valueRate, unit: ratio, must: 0.45, stretch: 0.55, atLeast: true},
			{what: "the same, CPU under wrk", value: wrkPrefix + valueCPU, unit: ratio, must: 2.6, stretch: 2.1}}},
	{name: "push-wait", title: "Durable push with ?wait, answered after the device's ack",
		state: "devices are connected over v2 and ack at once", load: "128 HTTP callers, 200 after the ack is stored",
		measure: compare{reference: 1, wrk: true, sides: []side{{spec: online, load: pushWait}, {spec: spec{role: bareServer}, load: pushWait}}},
		budgets: []budget{
			{what: "durable push, ?wait, connected: rate to bare chi", value: valueRate, unit: ratio, must: 0.40, stretch: 0.50, atLeast: true},
			{what: "the same, rate under wrk", value: wrkPrefix + valueRate, unit: ratio, must: 0.40, stretch: 0.50, atLeast: true}}},
	{name: "push-webhook", title: "Durable push to a connected device beside a webhook",
		state: "devices are connected over v2 and ack at once; one webhook selects none of the events, or posts every ack", load: "128 HTTP callers, 202 after fsync; a round ends when each ack is stored and, if it is posted, has come",
		measure: compare{reference: 2, sides: []side{{spec: spec{role: gatewayServer, connected: clients, hook: quietHook}, load: push},
			{spec: spec{role: gatewayServer, connected: clients, hook: ackHook}, load: push}, {spec: online, load: push}}},
		budgets: []budget{
			{what: "durable push beside a webhook that selects none: rate to none", value: valueRate, unit: ratio, must: 0.9, stretch: 0.97, atLeast: true},
			{what: "the same, CPU to none", value: valueCPU, unit: ratio, must: 1.1, stretch: 1.05}}},
	{name: "webhook", title: "A webhook posts the events of the log",
		state: "devices are connected and ack at once; a webhook posts every ack", load: "8 requests at once: a backlog, and a bare HTTP client with the same bodies; then 200 pushes a second",
		measure: webhooks{},
		budgets: []budget{{what: "webhook: events a second to a bare HTTP client", value: valueRate, unit: ratio, must: 0.5, stretch: 0.7, atLeast: true}}},
	{name: "timeline", title: "Durable push with and without timelines",
		state: "devices are connected over v2 and ack at once", load: "128 HTTP callers, 202 after fsync; a round ends when each ack is stored",
		measure: compare{reference: 1, sides: []side{{spec: online, load: push}, {name: "timelines off", spec: spec{role: gatewayServer, connected: clients, untimed: true}, load: push}}},
		budgets: []budget{{what: "durable push with timelines: CPU to one without", value: valueCPU, unit: ratio, must: 1.05, stretch: 1.02}}},
	{name: "growth", title: "CPU of a durable push over connected devices and stored messages",
		state: "devices are connected and ack at once; the queued messages are for other clients, which are offline", load: "128 HTTP callers, 202; a round ends when each ack is stored",
		measure: compare{chart: "growth", reference: 1, sides: []side{
			{spec: spec{role: gatewayServer, connected: few}, load: push}, {spec: online, load: push}, {spec: spec{role: gatewayServer, connected: most}, load: push},
			{spec: spec{role: gatewayServer, connected: clients, queued: tenth}, load: push}, {spec: spec{role: gatewayServer, connected: clients, queued: queue}, load: push}}}},
	{name: "push-online", title: "Push with mode=online, answered after the device's ack",
		state: "devices are connected over v2 and ack at once", load: "128 HTTP callers, 200; nothing is stored",
		measure: compare{reference: 1, shares: sweep, sides: []side{{spec: online, load: pushOnline}, {spec: spec{role: bareServer}, load: pushOnline}}},
		budgets: []budget{{what: "mode=online push, connected: rate to bare chi", value: valueRate, unit: ratio, must: 0.50, stretch: 0.60, atLeast: true}}},
	{name: "push-offline", title: "Durable push to offline devices (202 after fsync)",
		state: "clients are registered and offline; nothing is delivered", load: "256 HTTP callers, 202",
		measure: compare{reference: 1, shares: sweep, sides: []side{{spec: spec{role: gatewayServer, offline: known}, load: pushQueue},
			{spec: spec{role: bareServer}, load: pushQueue}, {spec: spec{role: bareSyncing}, load: pushQueue}}},
		budgets: []budget{{what: "durable push, offline: rate to bare chi", value: valueRate, unit: ratio, must: 0.50, stretch: 0.60, atLeast: true}}},
	{name: "bulk", title: "Bulk push (NDJSON), durable",
		state: "devices are connected and ack at once", load: "one caller, one request after another, each line delivered and its ack stored; single pushes for comparison",
		measure: compare{reference: 1, sides: []side{
			{name: "1,000 lines", spec: online, load: bulk(1000)}, {name: "single pushes", spec: online, load: push}, {name: "100 lines", spec: online, load: bulk(100)},
			{name: "10 lines", spec: online, load: bulk(10)}, {name: "1 line", spec: online, load: bulk(1)},
			{name: "bare server, 1,000 lines", spec: spec{role: bareServer, connected: clients}, load: bulk(1000)}}},
		budgets: []budget{{what: "bulk line, durable, acked: CPU to a single push", value: valueCPU, unit: ratio, must: 0.25, stretch: 0.15}}},
	{name: "push-all", title: "One message to all",
		state: "devices are connected and ack at once", load: "one caller, one broadcast after another, until the acks of all are stored",
		measure: compare{reference: 1, sides: []side{{spec: online, load: load{what: broadcasts}}, {name: "bare loop", spec: spec{role: bareServer, connected: clients}, load: load{what: broadcasts}}}},
		budgets: []budget{{what: "push to all: CPU per delivery to a bare loop", value: valueCPU, unit: ratio, must: 1.05, stretch: 0.95}}},
	{name: "accept", title: "Durable accept in the engine",
		state: "clients are registered and offline", load: "256 callers in this process, no HTTP",
		measure: compare{reference: 1, sides: []side{{name: "engine", load: load{what: accepts, callers: 256}}, {name: "append + group fdatasync", load: load{what: appends, callers: 256}}}},
		budgets: []budget{{what: "durable accept to append + group fdatasync", value: valueRate, unit: ratio, must: 0.55, stretch: 0.75, atLeast: true}}},
	{name: "uplink", title: "Uplink: device, store, ack",
		state: "256 connected devices, which send", load: "each device sends 64 bytes and waits for the ack",
		measure: compare{reference: 1, shares: sweep, sides: []side{{spec: spec{role: gatewayServer}, load: load{what: uplinks, callers: 256}},
			{name: "bare echo + fdatasync", spec: spec{role: bareSyncing}, load: load{what: uplinks, callers: 256}}, {name: "bare echo", spec: spec{role: bareServer}, load: load{what: uplinks, callers: 256}}}}},
	{name: "broadcast", title: "Single pushes beside broadcasts",
		state: "devices are connected and ack at once", load: "single mode=online pushes at a fixed rate, alone and while one broadcast to all follows another",
		measure: beside{sides: []side{{spec: online, load: pushOnline}, {spec: spec{role: bareServer, connected: clients}, load: pushOnline}}}},
	{name: "storm", title: "All devices are lost and come back at once",
		state: "a tenth of the devices stays connected; the others lose their connections in one moment", load: "up to 2,000 dials at a time; a refused device tries again; 200 mode=online pushes a second to those that stayed",
		measure: storm{sides: []spec{{role: gatewayServer}, {role: bareServer}}},
		budgets: []budget{{what: "registrations a second in a storm", value: valueRate, unit: perSecond, must: 15_000, stretch: 25_000, atLeast: true}}},
	{name: "memory", title: "Memory per idle client",
		state: "devices are connected and have sent one heartbeat", load: "none",
		measure: footprint{upTo: clients, steps: []float64{1}, repeat: 3, sides: []footprintSide{{valuePlain, gatewayServer, 1}, {valueTLS, gatewayTLS, 1}}},
		budgets: []budget{
			{what: "memory per idle client, plain", value: valuePlain, unit: bytesEach, must: 1.2 * 1024, stretch: 1024},
			{what: "memory per idle client, TLS", value: valueTLS, unit: bytesEach, must: 7.8 * 1024, stretch: 6 * 1024},
			{what: "goroutines per idle client, plain", value: valueGoroutines, unit: number, must: 0}}},
	{name: "connect", title: "Devices connect and stay",
		state: "devices are connected and have sent one heartbeat", load: "64 dials at a time, step by step",
		measure: footprint{upTo: most, steps: []float64{1. / 15, 1. / 6, 1. / 3, 2. / 3, 1}, repeat: 1,
			sides: []footprintSide{{valuePlain, gatewayServer, 1}, {valueTLS, gatewayTLS, 1. / 3}, {"bare", bareServer, 1}}}},
	{name: "idle", title: "Idle devices with heartbeats",
		state: "devices are connected and only answer heartbeats", load: "heartbeats at the rate of all devices at the interval; fewer devices beat once a second in their place",
		measure: heartbeats{intervals: []float64{10, 30, 60}}},
	{name: "list", title: "Pages of the client list",
		state: "clients are registered and online without sockets", load: "one caller, pages of 100 one after another",
		measure: pages{},
		budgets: []budget{{what: "page of the client list, slowest kind", value: valuePage, unit: milliseconds, must: 3, stretch: 1}}},
	{name: "sessions", title: "A million sessions while others are served",
		state: "clients are online without sockets and ack at once", load: "pushes, pages and registrations at fixed rates; garbage collections as they come, then one after another",
		measure: sessions{}},
	{name: "restart", title: "Restart with queued messages",
		state: "clients are offline with 100 messages each", load: "start to a green /readyz",
		measure: restart{},
		budgets: []budget{{what: "restart to ready, slowest", value: valueReady, unit: seconds, must: 1, stretch: 0.2, worst: true}}},
}

// Names lists the scenarios.
func Names() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// choose returns the scenarios with these names. Without names it returns those
// with budgets, or every one if all is set.
func choose(names []string, all bool) (chosen []scenario, err error) {
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("there is no scenario %q; known are %s", name, strings.Join(Names(), ", "))
		}
	}
	for _, s := range scenarios {
		if all || slices.Contains(names, s.name) || len(names) == 0 && len(s.budgets) > 0 {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}
