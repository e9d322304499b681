package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// fakeGateway answers as a gateway with two clients would: truck-17 is online
// and acks, truck-18 is offline. Below /secured it wants a key, below /draining
// it is not ready.
type fakeGateway struct {
	http *httptest.Server

	consumer fakeConsumer

	mu   sync.Mutex
	last string // method, URI, headers of interest and body of the last request
}

func startGateway() *fakeGateway {
	g := &fakeGateway{}
	api := http.NewServeMux()
	api.HandleFunc("GET /readyz", say(200, `{"status":"ok"}`))
	api.HandleFunc("GET /version", say(200, `{"version":"1.2.3","go":"go1.26"}`))
	api.HandleFunc("GET /v1/clients", g.clients)
	api.HandleFunc("GET /v1/clients/{id}", g.client)
	api.HandleFunc("POST /v1/clients", say(201, `{"id":"truck-19","online":false,"groups":["a"],"labels":{"model":"x2"},"queued":0}`))
	api.HandleFunc("PATCH /v1/clients/{id}", g.client)
	api.HandleFunc("DELETE /v1/clients/{id}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	api.HandleFunc("DELETE /v1/clients", say(200, `{"forgotten":2,"canceled":1,"more":false}`))
	api.HandleFunc("POST /v1/clients/{id}/messages", g.push)
	api.HandleFunc("POST /v1/messages", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(g.lastRequest(), `"dry_run":true`) {
			say(200, `{"dry_run":true,"recipients":182,"failed":1,"sample":["truck-17","truck-18"],"unknown":["x"],"now":"2026-11-22T08:00:00.000Z"}`)(w, r)
			return
		}
		say(202, many("pending", 1, 1))(w, r)
	})
	api.HandleFunc("POST /v1/clients/{id}/probe", g.probe)
	api.HandleFunc("GET /v1/simulator", say(200, simulated))
	api.HandleFunc("PUT /v1/simulator", say(200, simulated))
	api.HandleFunc("DELETE /v1/simulator", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	api.HandleFunc("GET /v1/messages", say(200, `{"items":[`+one("acked")+`,`+many("completed", 2, 0)+`]}`))
	api.HandleFunc("GET /v1/messages/{id}", g.message)
	api.HandleFunc("GET /v1/messages/{id}/payload", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "21.5\n") })
	api.HandleFunc("DELETE /v1/messages/{id}", say(200, one("canceled")))
	api.HandleFunc("GET /v1/messages/{id}/deliveries", say(200,
		`{"items":[{"client":"truck-17","status":"acked","attempts":1,"result":"done"},{"client":"truck-18","status":"queued"}]}`))
	api.HandleFunc("GET /v1/messages/{id}/why", g.whyMessage)
	api.HandleFunc("GET /v1/clients/{id}/why", g.whyClient)
	api.HandleFunc("DELETE /v1/clients/{id}/messages", say(200, `{"canceled":12,"under_way":1}`))
	api.HandleFunc("GET /v1/uplinks", say(200,
		`{"items":[{"seq":5,"client":"truck-17","received_at":"2026-11-22T08:00:00.000Z","text":"21.5\u001b[2J"}],"next_after":5,"more":false}`))
	api.HandleFunc("GET /v1/events", g.events)
	g.consumer.routes(api)
	api.HandleFunc("GET /v1/clients/{id}/timeline", timelineOf)
	api.HandleFunc("POST /v1/clients/{id}/trace", say(200, trace17))
	api.HandleFunc("DELETE /v1/clients/{id}/trace", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	api.HandleFunc("GET /v1/traces", say(200, `{"items":[`+trace17+`]}`))
	api.HandleFunc("GET /v1/refused", say(200, `{"items":[{"client":"meter-9","count":3,"first_at":"2026-11-22T08:00:00.000Z",`+
		`"last_at":"2026-11-22T08:00:05.000Z","remote_addr":"203.0.113.7:40112","dialect":"text","reason":"wrong_token"}],`+
		`"unnamed":[{"remote_addr":"203.0.113.8:40113","count":7,"first_at":"2026-11-22T08:00:00.000Z",`+
		`"last_at":"2026-11-22T08:00:05.000Z","dialect":"v1","reason":"bad_client_id","sample":"meter/7"}]}`))

	api.HandleFunc("DELETE /v1/refused/meter-9", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	api.HandleFunc("DELETE /v1/refused/{id}", problem(404, "refused-not-found", "No such refused device", ""))
	api.HandleFunc("GET /v1/session", say(200, `{"auth":"open","scopes":["admin"],"features":["webhooks"],"limits":{"max_payload_bytes":262144},`+
		`"now":"2026-11-22T08:00:00.000Z","version":"1.2.3","instance":"5f1c09ab"}`))
	api.HandleFunc("GET /v1/stats", say(200, `{"now":"2026-11-22T08:01:00.000Z","started_at":"2026-11-22T08:00:00.000Z","draining":false,"online":3,"accepted":60,"settled":{"acked":60},`+
		`"uplinks":1,"connects":3,"rates":{"over_seconds":60,"pushes":1,"acks":1,"uplinks":0,"connects":0.05},"ack_latency":{"p50_ms":12.5,"p99_ms":40},`+
		`"oldest_queued_at":"2026-11-22T08:00:30.000Z","disk":{"used_bytes":1048576,"free_bytes":2097152,"total_bytes":4194304,"share":0.5}}`))
	api.HandleFunc("GET /v1/audit", say(200, `{"items":[{"id":"x-2","at":"2026-11-22T08:00:00.000Z","who":"key_1","name":"backend","what":"client.disconnect","target":"truck-17","remote_addr":"192.0.2.7:1","result":"ok"}]}`))
	critical := `{"code":"store_unavailable","severity":"critical","since":"2026-11-22T08:00:00.000Z","count":1,"text":"The store accepts no messages: no space.","facts":{"cause":"no space"}}`
	warning := `{"code":"devices_refused","severity":"warning","since":"2026-11-22T08:00:00.000Z","count":2,"text":"Refused devices: 2.","facts":{}}`
	info := `{"code":"queue_old","severity":"info","since":"2026-11-22T08:00:00.000Z","count":2,"text":"The oldest waits.","facts":{}}`
	api.HandleFunc("GET /v1/findings", say(200, `{"now":"2026-11-22T08:01:00.000Z","omitted":0,"items":[`+critical+`,`+warning+`,`+info+`]}`))

	root := http.NewServeMux()
	root.HandleFunc("/worried/", say(200, `{"now":"2026-11-22T08:01:00.000Z","omitted":0,"items":[`+warning+`,`+info+`]}`))
	root.HandleFunc("/well/", say(200, `{"now":"2026-11-22T08:01:00.000Z","omitted":0,"items":[`+info+`]}`))
	root.HandleFunc("/idle/", say(200, `{"now":"2026-11-22T08:01:00.000Z","omitted":0,"items":[]}`))
	root.Handle("/", api)
	root.Handle("/secured/", http.StripPrefix("/secured", locked(api)))
	root.HandleFunc("/draining/", problem(503, "draining", "Draining", ""))
	root.HandleFunc("/full/readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(503)
		io.WriteString(w, `{"status":"unavailable","checks":[{"name":"store","status":"unavailable","detail":"disk has 62.5 MiB free, the minimum is 64.0 MiB"},{"name":"accepting","status":"ok"}]}`)
	})
	root.HandleFunc("/proxy/", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<h1>nginx</h1>", 404) })
	g.http = httptest.NewServer(g.recorded(root))
	return g
}

// recorded remembers each request before it is answered.
func (g *fakeGateway) recorded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		g.mu.Lock()
		g.last = fmt.Sprintf("%s %s key=%q %s", r.Method, r.URL.RequestURI(), r.Header.Get("Idempotency-Key"), body)
		g.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

func (g *fakeGateway) lastRequest() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

func locked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer lwk_secret" {
			problem(401, "unauthenticated", "Not authenticated", "")(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func problem(status int, slug, title, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "60") // longer than a command waits
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"/docs/problems/%s","title":%q,"status":%d,"detail":%q}`, slug, title, status, detail)
	}
}

func one(status string) string {
	return `{"id":"msg_1","status":"` + status + `","mode":"durable","client":"truck-17","result":"done","attempts":1,` +
		`"created_at":"2026-11-22T08:00:00.000Z","expires_at":"2026-11-23T08:00:00.000Z"}`
}

func many(status string, acked, queued int) string {
	return fmt.Sprintf(`{"id":"msg_2","status":%q,"mode":"durable","created_at":"2026-11-22T08:00:00.000Z",`+
		`"expires_at":"2026-11-23T08:00:00.000Z","counts":{"total":%d,"acked":%d,"queued":%d}}`, status, acked+queued, acked, queued)
}

const trace17 = `{"client":"truck-17","key":"key_1","name":"support","started_at":"2026-11-22T08:00:00.000Z","ends_at":"2026-11-22T08:05:00.000Z","frames":2,"bytes":9}`

// entries17 is the timeline of truck-17.
var entries17 = []string{
	`{"id":"16","at":"2026-11-22T08:00:00.000000Z","source":"record","what":"connected","remote_addr":"203.0.113.9:51544","transport":"tcp","dialect":"text"}`,
	`{"id":"17","at":"2026-11-22T08:00:00.000001Z","source":"memory","what":"frame","direction":"in","frame":"heartbeat","bytes":5,"text":"PING\u001b[2J\n"}`,
	`{"id":"18","at":"2026-11-22T08:00:00.000002Z","source":"memory","what":"delivery","state":"acked","number":"7","message":"msg_1","attempts":2}`,
	`{"id":"19","at":"2026-11-22T08:00:00.000003Z","source":"memory","what":"closed","reason":"heartbeat_timeout","by":"gateway"}`,
}

func timelineOf(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") == "truck-19" {
		say(200, `{"client":"truck-19","now":"2026-11-22T08:00:01.000Z","items":[{"id":"log-16","at":"2026-11-21T20:00:00.000000Z","source":"log","what":"uplink","number":"3","bytes":2,"text":"hi"}]}`)(w, r)
		return
	}
	if r.URL.Query().Get("follow") != "true" {
		say(200, `{"client":"truck-17","now":"2026-11-22T08:00:01.000Z","items":[`+strings.Join(entries17, ",")+`],"before":"17"}`)(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range entries17 {
		fmt.Fprintf(w, "data: %s\n\n", e)
	}
}

const (
	simulated = `{"count":2,"connected":1,"profile":"mixed","devices":[{"id":"sim-steady-1","profile":"steady","connected":true},` +
		`{"id":"sim-chatty-2","profile":"chatty","connected":false,"problem":"blocked"}]}`
	truck17 = `{"id":"truck-17","online":true,"presence":"online","connected_at":"2026-11-22T08:00:00.000Z","remote_addr":"203.0.113.9:51544",` +
		`"dialect":"v2","transport":"tcp","rtt_ms":0.412,"groups":["fleet-a"],"labels":{"model":"x2"},"queued":0,"in_flight":1}`
	truck18 = `{"id":"truck-18","online":false,"last_close":{"reason":"heartbeat_timeout","by":"gateway"},"groups":[],"labels":{},"queued":3,"in_flight":0}`
)

func (g *fakeGateway) clients(w http.ResponseWriter, r *http.Request) {
	switch q := r.URL.Query(); {
	case q.Get("status") == "online":
		say(200, `{"items":[`+truck17+`]}`)(w, r)
	case q.Get("cursor") == "":
		say(200, `{"items":[`+truck17+`],"next_cursor":"c1"}`)(w, r)
	default:
		say(200, `{"items":[`+truck18+`]}`)(w, r)
	}
}

func (g *fakeGateway) client(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("id") {
	case "truck-17":
		say(200, truck17)(w, r)
	case "truck-18":
		say(200, truck18)(w, r)
	default:
		problem(404, "client-not-found", "No such client", "")(w, r)
	}
}

func (g *fakeGateway) probe(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("id") {
	case "truck-17":
		say(200, `{"id":"truck-17","presence":"online","rtt_ms":41.7,"asked":true,"last_seen_at":"2026-11-22T08:00:00.000Z"}`)(w, r)
	case "truck-18":
		say(200, `{"id":"truck-18","presence":"offline","asked":false,"last_close":{"reason":"heartbeat_timeout","by":"gateway"}}`)(w, r)
	case "person":
		say(200, `{"id":"person","presence":"suspect","asked":true,"confirmed":false}`)(w, r)
	default:
		problem(429, "too-many-probes", "Too many probes", "1024 probes wait for their devices")(w, r)
	}
}

func (g *fakeGateway) push(w http.ResponseWriter, r *http.Request) {
	online := strings.Contains(g.lastRequest(), `"mode":"online"`)
	switch id := r.PathValue("id"); {
	case id == "truck-17" && (online || r.URL.Query().Get("wait") != ""):
		say(200, one("acked"))(w, r)
	case id == "truck-17":
		say(202, one("queued"))(w, r)
	case id == "truck-18" && online:
		problem(409, "client-offline", "Client offline", "")(w, r)
	case id == "truck-18":
		say(202, `{"id":"msg_3","status":"queued","client":"truck-18","expires_at":"2026-11-23T08:00:00.000Z"}`)(w, r)
	default:
		problem(404, "client-not-found", "No such client", "")(w, r)
	}
}

func (g *fakeGateway) message(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") != "msg_1" {
		problem(404, "message-not-found", "No such message", "")(w, r)
		return
	}
	say(200, one("acked"))(w, r)
}

func (g *fakeGateway) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i, e := range []string{
		`"type":"client.connected","subject":"truck-17","data":{"dialect":"v2","remote_addr":"203.0.113.9:51544"}`,
		`"type":"message.received","subject":"truck-17","data":{"uplink":{"seq":5,"client":"truck-17","text":"21.5"}}`,
		`"type":"message.acked","subject":"truck-17","data":{"message_id":"msg_1","result":"done"}`,
		`"type":"client.disconnected","subject":"truck-17","data":{"session":"ses_1","reason":"heartbeat_timeout","by":"gateway"}`,
	} {
		fmt.Fprintf(w, "id: %d\nevent: x\ndata: {\"time\":\"2026-11-22T08:00:00.000Z\",%s}\n\n", i+1, e)
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func (g *fakeGateway) whyMessage(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.PathValue("id") == "msg_1":
		say(200, `{"message":"msg_1","client":"truck-17","code":"resent_not_acked","now":"2026-11-22T08:02:00.000Z",`+
			`"sentence":"It was sent to truck-17 4 times, last at 2026-11-22 08:01:30 UTC, and never acked; it expires in 23 h 58 min.",`+
			`"facts":{"status":"sent","attempts":4,"sent_at":"2026-11-22T08:01:30.000Z","online_since":"2026-11-22T07:00:00.000Z",`+
			`"expires_at":"2026-11-23T08:00:00.000Z","expires_in":86280,"window":16,"in_flight":1}}`)(w, r)
	case r.PathValue("id") == "msg_2" && r.URL.Query().Get("client") == "":
		say(200, `{"message":"msg_2","code":"many_pending","now":"2026-11-22T08:02:00.000Z","sentence":"1 of 3 deliveries are final: 2 wait in the gateway, 1 acked.",`+
			`"facts":{"counts":{"total":3,"queued":2,"acked":1}},"sample":{"size":2,"codes":[{"code":"client_offline","count":2}]}}`)(w, r)
	case r.PathValue("id") == "msg_2":
		say(200, `{"message":"msg_2","client":"truck-18","code":"client_offline","now":"2026-11-22T08:02:00.000Z","sentence":"truck-18 is offline.",`+
			`"facts":{"status":"queued","last_close":{"reason":"heartbeat_timeout","by":"gateway"}}}`)(w, r)
	default:
		problem(404, "message-not-found", "No such message", "")(w, r)
	}
}

func (g *fakeGateway) whyClient(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("id") {
	case "truck-18":
	case "truck-19":
		say(200, `{"client":"truck-19","code":"online_flapping","now":"2026-11-22T08:02:00.000Z","sentence":"truck-19 is online.","facts":{"takeovers":3,"claims":[`+
			`{"remote_addr":"198.51.100.9:53311","dialect":"text","count":2,"last_at":"2026-11-22T08:01:00.000Z"},{"remote_addr":"192.0.2.7:40113","count":1,"last_at":"2026-11-22T08:00:00.000Z"}]}}`)(w, r)
		return
	default:
		problem(404, "client-not-found", "No such client", "")(w, r)
		return
	}
	say(200, `{"client":"truck-18","code":"refused","now":"2026-11-22T08:02:00.000Z","sentence":"truck-18 is offline since 2026-11-22 07:00:00 UTC (1 h 2 min); it was refused 3 times.",`+
		`"facts":{"offline_since":"2026-11-22T07:00:00.000Z","last_close":{"reason":"client_closed","by":"device"},`+
		`"refused":{"count":3,"reason":"wrong_token","first_at":"2026-11-22T08:00:00.000Z","last_at":"2026-11-22T08:00:05.000Z","remote_addr":"203.0.113.7:40112"}}}`)(w, r)
}
