package api

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An unauthenticated caller at full rate leaves a bounded number of short lines in the log and
// in the audit log, and the refusals of a key that is known are all on record.
func TestStrangersLeaveBoundedTraces(t *testing.T) {
	var log logLines
	synctest.Test(t, func(t *testing.T) {
		w, entries := audited(t, logTo(&log, slog.LevelInfo))
		const floods = 3000
		long := "/v1/clients/" + strings.Repeat("%01", 9000) + "/messages"
		flood := func() {
			r := newRequest(t.Context(), "POST", "/", "x")
			r.URL, _ = url.Parse("http://localhost" + long)
			r.RemoteAddr = "203.0.113.9:40000"
			answer := newRecorder()
			if w.handler.ServeHTTP(answer, r); answer.Code != http.StatusUnauthorized {
				t.Fatalf("status %d, want 401", answer.Code)
			}
		}
		for i := range floods {
			flood()
			if i%100 == 0 {
				w.as("clients:read", "DELETE", "/v1/clients/a-truck", "").want(403)
			}
		}
		time.Sleep(time.Minute) // virtual
		w.call("GET", "/livez", "").want(200)

		var known, single, held, size int
		for _, e := range entries() {
			switch {
			case e["msg"] != "refused":
			case e["result"] == "held":
				held += int(e["count"].(float64))
			case e["name"] == "clients:read":
				known++
			default:
				single++
				size = max(size, len(e["target"].(string)))
			}
		}
		if known != floods/100 {
			t.Errorf("%d refusals of a key are on record, want %d", known, floods/100)
		}
		if single > 20 || single+held != floods {
			t.Errorf("%d entries of an address and %d in one line, want at most 20 and all %d", single, held, floods)
		}
		if most := 256 + 16; size > most {
			t.Errorf("a target of %d bytes, want at most %d", size, most)
		}
		if got, most := len(log.String()), 1<<20; got > most {
			t.Errorf("the log has %d bytes, want at most %d", got, most)
		}
	})
}
