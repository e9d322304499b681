package bench

import (
	"context"
	"errors"
)

// scenario is one kind of load, and how it is brought about.
type scenario struct {
	name    string // for --only
	title   string
	what    string // how it is measured
	weight  int    // seconds that it takes about, for the progress
	measure func(*bench, context.Context, *Scenario) error
}

// scenarios is every kind of load, in the order of the report.
var scenarios = []scenario{
	{name: "connect", weight: 60, title: "Clients connect and stay",
		what: "Clients connect in steps, 64 dials under way at a time, and register. After each step everybody has said a word and a pause " +
			"has passed; then memory is read. The bare server is a goroutine with a buffer of 512 bytes for each connection.",
		measure: (*bench).connectScenario},
	{name: "idle", weight: 60, title: "Idle clients with heartbeats",
		what: "Clients do nothing but answer heartbeats. In place of a long interval a smaller number of clients beats once a second, so that " +
			"heartbeats come as often; with all clients and the real interval it is measured too, at 10 s. The bare server answers as many.",
		measure: (*bench).idleScenario},
	{name: "push", weight: 60, title: "Push with the device's ack (mode=online)",
		what: "First 128 callers in a closed loop find the highest rate. Then pushes begin at fixed shares of it, whether earlier ones are " +
			"answered or not, and latency counts from the time at which a push was to begin. The bare chi handler gets the same rates.",
		measure: (*bench).pushScenario},
	{name: "durable", weight: 60, title: "Durable push (202 after fsync)",
		what: "As above with 256 callers, mode=durable and recipients that are offline. The floor is a bare chi handler that appends the body " +
			"to a file and syncs it, one fdatasync for all who wait.",
		measure: (*bench).durableScenario},
	{name: "bulk", weight: 25, title: "Bulk push (NDJSON)",
		what: "One caller sends one request after another; every line is a push to a random client, and acked. The bare server answers " +
			"each line when its devices have acked the frames of all.",
		measure: (*bench).bulkScenario},
	{name: "broadcast", weight: 30, title: "Broadcast to everybody, and single pushes meanwhile",
		what: "Single pushes at a fixed rate, first alone and then while one broadcast to all clients follows the other without a pause. The " +
			"bare server writes the same frame to each connection in a loop and counts the acks.",
		measure: (*bench).broadcastScenario},
	{name: "uplink", weight: 70, title: "Uplink: device, store, ack",
		what: "256 devices send 64 bytes and wait until the gateway has stored them on disk and acked; first in a closed loop, then at fixed " +
			"rates. The floors are the bare server, which acks at once, and the same with an append and a shared fdatasync before.",
		measure: (*bench).uplinkScenario},
	{name: "storm", weight: 30, title: "Storm: everybody is lost and comes back at once",
		what: "A tenth of the clients stays and gets pushes at a fixed rate. The others lose their connections in one moment and all come back " +
			"at once, up to 2,000 dials under way; who is refused tries again. The bare server sees the same storm.",
		measure: (*bench).stormScenario},
	{name: "million", weight: 35, title: "A million sessions while others are served",
		what: "A gateway with the clients of the list (--listed), which have no connections and ack what they are sent. Single pushes, durable pushes, " +
			"pages of the list and registrations go on at fixed rates, first with garbage collections as they come, then with one right after the other.",
		measure: (*bench).millionScenario},
}

// take measures the scenario. An error is that of ctx.
func (s *scenario) take(ctx context.Context, b *bench) (Scenario, error) {
	out := Scenario{Name: s.name, Title: s.title, What: s.what}
	err := s.measure(b, ctx, &out)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	if reason, ok := errors.AsType[notMeasured](err); ok {
		out.Findings = append(out.Findings, "Not measured: "+string(reason)+".")
	} else if err != nil {
		out.Failure = err.Error()
	}
	return out, nil
}
