package app

import (
	"net/http"
	"net/http/pprof"
	"time"
)

// serveProfiles shows how the process spends its time and memory, to the holder
// of the data directory only: a profile tells of what goes through, and taking
// one costs. It is nowhere on the network.
//
//	curl --unix-socket longwire-data/admin.sock -o cpu.pprof 'http://longwire/debug/pprof/profile?seconds=10'
//	go tool pprof cpu.pprof
func (a *admin) serveProfiles() {
	for path, h := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/profile": pprof.Profile, "/debug/pprof/trace": pprof.Trace,
		"/debug/pprof/symbol": pprof.Symbol,
	} {
		a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			// The deadline for the request would end a profile that takes longer.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			h(w, r)
		})
	}
}
