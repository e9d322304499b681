package hostile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The API over HTTP/2, spoken as no library does.
func TestHostileHTTP2(t *testing.T) {
	alone(t, func(t *testing.T) {
		s := httpsSite(t, nil)
		unread, silent := s.unreadH2(), s.silentH2() // their time passes meanwhile
		s.face([]behaviour{
			{"more requests than a connection may have", manyStreams},
			{"requests that are reset at once", rapidReset},
			{"waits that are reset", resetWaits},
			{"pings, answers unread", pingFlood},
			{"settings without end", settingsFlood},
			{"settings that are none", brokenSettings},
			{"header blocks without end", endlessHeaders},
			{"half a header block", halfHeaders},
			{"header blocks that are bombs", hpackBombs},
			{"frames that are none", brokenFrames},
			{"requests that are none, in frames", brokenRequests},
			{"more body than there is room for", unreadBody},
			{"a body that does not come", absentH2Body},
		})
		unread()
		silent()
	})
}

// Nobody reads: neither the answers, nor the socket. What is sent now and then
// keeps the gateway from asking whether anybody is there.
func (s *site) unreadH2() (wait func()) {
	s.Helper()
	c := s.h2begin()
	_ = c.send(h2Preface + h2frame(h2Settings, 0, 0, h2settings(initialWindow, 1<<30)) + h2frame(h2Window, 0, 0, h2number(1<<30)))
	for i := range uint32(mostStreams) { // 13 MB: more than the socket buffers take
		_ = c.send(request(2*i+1, get("/openapi.json")))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for c.send(h2frame(h2Window, 0, 0, h2number(1))) == nil {
			<-tick.C
		}
	}()
	return func() {
		s.Helper()
		s.eventually("a connection that takes nothing is cut off", func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		c.Close()
	}
}

// silentH2 opens connections that shake hands, and say nothing or half of what
// comes first.
func (s *site) silentH2() (wait func()) {
	s.Helper()
	var list []*h2
	for i := range 20 {
		c := s.h2begin()
		_ = c.send(h2Preface[:i%2*12])
		list = append(list, c)
	}
	return func() {
		s.Helper()
		for _, c := range list {
			_ = c.SetReadDeadline(time.Now().Add(patience))
			c.wantGone()
		}
	}
}

// limits of the gateway (api/http2.go)
const mostStreams, largestFrame, unreadMost = 100, 16 << 10, 256 << 10

func manyStreams(t *testing.T, s *site) {
	c := s.h2(initialWindow, 0) // nothing is taken: no request ends
	if got := c.settings[maxStreams]; got != mostStreams {
		t.Errorf("%d requests at once are offered, want %d", got, mostStreams)
	}
	for i := range uint32(mostStreams) {
		_ = c.send(request(2*i+1, get("/livez")))
	}
	_ = c.send(request(2*mostStreams+1, get("/livez")))
	c.wantReset(2*mostStreams+1, protocolError, refusedStream)
	_ = c.send(h2frame(h2Settings, 0, 0, h2settings(initialWindow, 1<<16)))
	for range mostStreams { // in whatever order
		c.wantEnd()
	}
	_ = c.send(request(2*mostStreams+3, get("/livez")))
	if said := c.body(2*mostStreams + 3); said == "" {
		t.Error("no answer after all that")
	}
	c.Close()
}

// wantEnd reads until some stream has all of its answer.
func (c *h2) wantEnd() {
	c.s.Helper()
	for {
		kind, flags, stream, payload := c.next()
		switch {
		case kind == h2Data && flags&endStream != 0:
			return
		case kind < 0 || kind == h2GoAway || kind == h2Reset:
			c.s.Fatalf("want an answer, got frame %d on stream %d: %x", kind, stream, payload)
		}
	}
}

// A reset ends a request for its caller, while the handler may be at work still.
// More handlers at once than requests are allowed there are not: when too many
// have not begun the connection ends, else they are all served.
func rapidReset(t *testing.T, s *site) {
	const pairs, end = 5000, 2*5000 + 1
	c := s.h2()
	_ = c.SetReadDeadline(time.Now().Add(3 * patience)) // that many may wait for a processor
	go func() {
		for i := uint32(0); i < pairs; i += 100 {
			var b strings.Builder
			for k := range uint32(100) {
				id := 2*(i+k) + 1
				b.WriteString(request(id, get("/metrics")) + h2frame(h2Reset, 0, id, h2number(cancel)))
			}
			if c.send(b.String()) != nil {
				return
			}
		}
		_ = c.send(request(end, get("/livez")))
	}()
	most := mostGoroutines()
	// On a slow machine the last answer may miss its deadline behind all the others.
	late := reset(internalError)
	if how := c.outcome(end); how != away(enhanceYourCalm) && how != "gone" && how != late && !strings.HasPrefix(how, "answer") {
		t.Errorf("the flood ends with %s, want calm or an answer", how)
	}
	if n := most(); n > 2*mostStreams { // some are about to end
		t.Errorf("%d goroutines more, for %d requests at once", n, mostStreams)
	}
	c.Close()
}

// mostGoroutines counts how many more goroutines there are at most, each
// millisecond until it is asked.
func mostGoroutines() (most func() int) {
	before, n := runtime.NumGoroutine(), 0
	enough, counted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(counted)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n = max(n, runtime.NumGoroutine()-before)
			case <-enough:
				return
			}
		}
	}()
	return func() int {
		close(enough)
		<-counted
		return n
	}
}

func resetWaits(t *testing.T, s *site) {
	p := s.register("silent") // takes what it gets and acks nothing
	c := s.h2()
	before := s.metric("longwire_messages_accepted_total")
	for i := range uint32(mostStreams) {
		id := 2*i + 1
		_ = c.send(h2frame(h2Headers, endHeaders, id, post("/v1/clients/silent/messages?wait=60s", "content-type", "text/plain")) +
			h2frame(h2Data, endStream, id, "x"))
	}
	s.eventually("all wait", func() bool { return s.metric("longwire_messages_accepted_total") >= before+mostStreams })
	waiting := runtime.NumGoroutine()
	for i := range uint32(mostStreams) {
		_ = c.send(h2frame(h2Reset, 0, 2*i+1, h2number(cancel)))
	}
	s.eventually("the waits have ended", func() bool { return runtime.NumGoroutine() <= waiting-mostStreams })
	_ = c.send(request(2*mostStreams+1, get("/livez")))
	c.body(2*mostStreams + 1)
	c.Close()
	p.Close()
	if a := s.ask("DELETE", "/v1/clients/silent?purge=true", ""); a.status >= 300 {
		t.Errorf("purge: %d %s", a.status, a.body)
	}
}

// flood writes until the gateway has had enough, which has to be soon.
func (c *h2) flood(what string) {
	c.s.Helper()
	const most = 64 << 20
	sent := 0
	for c.send(what) == nil {
		if sent += len(what); sent > most {
			c.s.Errorf("%d MiB of it were taken", sent>>20)
			break
		}
	}
	c.Close()
}

func pingFlood(_ *testing.T, s *site) {
	c := s.h2()
	c.flood(strings.Repeat(h2frame(h2Ping, 0, 0, "12345678"), 1000))
}

// Each is answered with an ack at most, and the connection goes on.
func settingsFlood(t *testing.T, s *site) {
	c := s.h2()
	const n = 20_000
	go func() {
		all := strings.Repeat(h2frame(h2Settings, 0, 0, h2settings(initialWindow, 1000, maxFrame, 1<<20)), n)
		_ = c.send(all + request(1, get("/livez")))
	}()
	if said := c.body(1); said == "" {
		t.Error("no answer behind the settings")
	}
	c.Close()
}

func brokenSettings(t *testing.T, s *site) {
	var many []uint32
	for i := range uint32(101) {
		many = append(many, 1000+i, 1)
	}
	for name, tt := range map[string]struct {
		frames string
		want   string
	}{
		"101 of them":           {h2frame(h2Settings, 0, 0, h2settings(many...)), away(protocolError)},
		"one twice":             {h2frame(h2Settings, 0, 0, h2settings(initialWindow, 1, initialWindow, 2)), away(protocolError)},
		"a window of 2 GiB":     {h2frame(h2Settings, 0, 0, h2settings(initialWindow, 1<<31)), away(flowControlError)},
		"frames of a byte":      {h2frame(h2Settings, 0, 0, h2settings(maxFrame, 1)), away(protocolError)},
		"of a stream":           {h2frame(h2Settings, 0, 1, ""), away(protocolError)},
		"of five bytes":         {h2frame(h2Settings, 0, 0, "12345"), away(frameSizeError)},
		"an ack of nothing":     {h2frame(h2Settings, isAck, 0, ""), away(protocolError)},
		"an ack with something": {h2frame(h2Settings, isAck, 0, h2settings(maxFrame, 1<<20)), away(frameSizeError)},
	} {
		c := s.h2()
		_ = c.send(tt.frames)
		if got := c.outcome(1); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		c.Close()
	}
}

func endlessHeaders(_ *testing.T, s *site) {
	begun := h2frame(h2Headers, 0, 1, get("/livez"))
	c := s.h2()
	_ = c.send(begun)
	c.flood(strings.Repeat(h2frame(h2Continuation, 0, 1, hpack("x-bomb", strings.Repeat("x", 8000))), 10))

	c = s.h2() // each continues with nothing
	_ = c.send(begun)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); c.send(h2frame(h2Continuation, 0, 1, "")) == nil; <-tick.C {
		if time.Now().After(end) {
			s.Fatalf("a header block goes on for %v", patience)
		}
	}
}

// What is begun has to end within http.read_timeout, and not only when the
// connection would be idle.
func halfHeaders(_ *testing.T, s *site) {
	begun := h2frame(h2Headers, 0, 1, get("/livez"))
	var list []*h2
	for _, half := range []string{begun, begun[:len(begun)-1], begun[:9], begun[:3], request(1, get("/livez")) + begun[:9]} {
		c := s.h2()
		_ = c.send(half)
		list = append(list, c)
	}
	drips := s.h2()
	go drips.drip(h2frame(h2Headers, 0, 1, strings.Repeat("x", 10_000))[:9], strings.Repeat("x", 9_000))
	for _, c := range append(list, drips) {
		c.wantGone()
	}
}

func hpackBombs(t *testing.T, s *site) {
	many := make([]string, 0, 2000)
	for range 1000 {
		many = append(many, "x", "y")
	}
	// An entry for the dynamic table, of 4,000 bytes, and a thousand references.
	entry := "\x40\x01x" + string(hpackLength(nil, 3900)) + strings.Repeat("x", 3900)
	for name, more := range map[string]string{
		"one long": hpack("x-bomb", strings.Repeat("x", 12<<10)),
		"many":     hpack(many...),
		"a table":  entry + strings.Repeat("\xbe", 1000),
	} {
		c := s.h2()
		_ = c.send(request(1, get("/livez")+more))
		if said := c.outcome(1); !strings.Contains(said, "431") && said != away(compressionError) { // that is a string beyond the bound
			t.Errorf("%s: %q, want 431", name, clip(said))
		}
		c.Close()
	}
}

func brokenFrames(t *testing.T, s *site) {
	livez := get("/livez")
	for name, tt := range map[string]struct {
		frames string
		want   string
	}{
		"data on no stream":              {h2frame(h2Data, 0, 1, "x"), away(protocolError)},
		"data on stream 0":               {h2frame(h2Data, 0, 0, "x"), away(protocolError)},
		"an even stream":                 {request(2, livez), away(protocolError)},
		"a stream behind":                {request(5, livez) + request(3, livez), away(protocolError)},
		"a reset of no stream":           {h2frame(h2Reset, 0, 1, h2number(cancel)), away(protocolError)},
		"a window of nothing":            {h2frame(h2Window, 0, 0, h2number(0)), away(protocolError)},
		"a window that overflows":        {h2frame(h2Window, 0, 0, h2number(1<<31-1)), away(flowControlError)},
		"a ping of seven bytes":          {h2frame(h2Ping, 0, 0, "1234567"), away(frameSizeError)},
		"a frame beyond the bound":       {h2frame(h2Headers, endHeaders, 1, strings.Repeat("x", largestFrame+1)), away(frameSizeError)},
		"a promise":                      {h2frame(h2Push, endHeaders, 1, h2number(2)+livez), away(protocolError)},
		"a continuation of nothing":      {h2frame(h2Continuation, endHeaders, 1, livez), away(protocolError)},
		"another stream in a block":      {h2frame(h2Headers, 0, 1, livez) + request(3, livez), away(protocolError)},
		"a block that is none":           {request(1, "\x80"), away(compressionError)},
		"a table that is too large":      {request(1, "\x3f\xff\xff\xff\x07"+livez), away(compressionError)},
		"a number that overflows":        {request(1, "\xff"+strings.Repeat("\xff", 20)), away(compressionError)},
		"more padding than frame":        {h2frame(h2Headers, endHeaders|padded, 1, "\xff"+livez), reset(protocolError)},
		"a stream that waits for itself": {h2frame(h2Priority, 0, 1, h2number(1)+"x"), reset(protocolError)},
	} {
		c := s.h2()
		_ = c.send(tt.frames)
		if got := c.outcome(1); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		c.Close()
	}
	c := s.h2begin()
	_ = c.send("GET /v1/clients HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if said := c.wantGone(); strings.Contains(said, "HTTP/1.1") {
		t.Errorf("HTTP/1.1 where HTTP/2 was agreed on: %q", clip(said))
	}
}

// None of them may reach the gateway's clients.
func brokenRequests(t *testing.T, s *site) {
	const path = "/v1/clients/honest-v10/messages"
	text := []string{"content-type", "text/plain"}
	for name, block := range map[string]string{
		"a name in capitals":            post(path, append(text, "X-Capital", "x")...),
		"a name with a space":           post(path, append(text, "x y", "x")...),
		"a new line in a value":         post(path, append(text, "x-a", "b\r\nx-c: d")...),
		"a NUL in a value":              post(path, append(text, "x-a", "b\x00")...),
		"a connection of its own":       post(path, append(text, "connection", "close")...),
		"chunks":                        post(path, append(text, "transfer-encoding", "chunked")...),
		"an upgrade":                    post(path, append(text, "upgrade", "websocket")...),
		"another te":                    post(path, append(text, "te", "gzip")...),
		"two paths":                     post(path, ":path", path),
		"a pseudo header behind others": hpack(":method", "POST", ":scheme", "https", "x-a", "b", ":path", path),
		"no path":                       hpack(":method", "POST", ":scheme", "https", ":authority", "localhost"),
		"an empty path":                 post(""),
		"a path that is none":           post("v1/clients/honest-v10/messages"),
		"no method":                     hpack(":scheme", "https", ":authority", "localhost", ":path", path),
		"another scheme":                hpack(":method", "POST", ":scheme", "ftp", ":authority", "localhost", ":path", path),
		"a pseudo header of answers":    post(path, ":status", "200"),
		"less than was announced":       post(path, append(text, "content-length", "50")...),
		"more than was announced":       post(path, append(text, "content-length", "1")...),
	} {
		c := s.h2()
		_ = c.send(h2frame(h2Headers, endHeaders, 1, block) + h2frame(h2Data, endStream, 1, "hello"))
		if said := c.outcome(1); strings.Contains(said, "msg_") || said == "" {
			t.Errorf("%s: %q, want a refusal", name, clip(said))
		}
		c.Close()
	}
	if a := s.ask("GET", path, ""); strings.Contains(a.body, "hello") {
		t.Errorf("a message has come through: %s", clip(a.body))
	}
}

// How a request ends that is not answered: with its stream or its connection.
func reset(code uint32) string { return fmt.Sprint("reset ", code) }
func away(code uint32) string  { return fmt.Sprint("away ", code) }

// outcome is how a request ends, in words: its answer, or its code.
func (c *h2) outcome(stream uint32) string {
	c.s.Helper()
	var all strings.Builder
	for {
		kind, flags, id, payload := c.next()
		switch {
		case kind < 0:
			return "gone"
		case kind == h2GoAway:
			return away(binary.BigEndian.Uint32([]byte(payload[4:])))
		case id != stream:
		case kind == h2Reset:
			return reset(binary.BigEndian.Uint32([]byte(payload)))
		case kind == h2Headers || kind == h2Data:
			if kind == h2Headers {
				all.WriteString("answer: ")
			} else {
				all.WriteString(payload)
			}
			if flags&endStream != 0 {
				return all.String()
			}
		}
	}
}

// An answer that is not taken keeps its request's body, of which a connection
// may send so much ahead, and no more.
func unreadBody(t *testing.T, s *site) {
	c := s.h2(initialWindow, 0)
	if got := c.settings[initialWindow]; got > unreadMost {
		t.Errorf("a body of %d bytes may be sent ahead, want at most %d", got, unreadMost)
	}
	_ = c.send(h2frame(h2Headers, endHeaders, 1, post("/livez"))) // 405
	c.want(h2Headers, 1)
	for sent := 0; sent <= unreadMost; sent += largestFrame {
		_ = c.send(h2frame(h2Data, 0, 1, strings.Repeat("x", largestFrame)))
	}
	if said := c.outcome(1); said != reset(flowControlError) && said != away(flowControlError) {
		t.Errorf("beyond the window: %s, want a flow control error", said)
	}
	c.Close()
}

func absentH2Body(t *testing.T, s *site) {
	c := s.h2()
	_ = c.send(h2frame(h2Headers, endHeaders, 1, post("/v1/clients/honest-v10/messages", "content-type", "application/json", "content-length", "10")))
	_ = c.send(h2frame(h2Data, 0, 1, `{"te`))
	var p struct{ Status int }
	if said := c.body(1); json.Unmarshal([]byte(said), &p) != nil || p.Status != 408 {
		t.Errorf("got %s, want 408", clip(said))
	}
	c.Close()
}
