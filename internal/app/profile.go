package app

import (
	"net/http"
	"net/http/pprof"
	"time"
)

// serveProfiles shows how the process spends its time and memory. Only the holder
// of the data directory may read it, because a profile reveals data and costs time.
// The network cannot reach it.
//
//	curl --unix-socket longwire-data/admin.sock -o cpu.pprof 'http://longwire/debug/pprof/profile?seconds=10'
//	go tool pprof cpu.pprof
func (a *admin) serveProfiles() {
	for path, h := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/profile": pprof.Profile, "/debug/pprof/trace": pprof.Trace,
		"/debug/pprof/symbol": pprof.Symbol,
	} {
		a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			// The server's read deadline would end a longer profile.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			h(w, r)
		})
	}
}
