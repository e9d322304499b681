package api

import "net/http"

// Header values that every answer has; the pages of documents replace some. The
// slices are shared and never changed.
var (
	nosniff         = []string{"nosniff"}
	noStore         = []string{"no-store"}
	noReferrer      = []string{"no-referrer"}
	closeConnection = []string{"close"}
	// An answer is data: a browser that shows it must not run or load anything.
	strictCSP = []string{"default-src 'none'; frame-ancestors 'none'"}
	// A name that was reached over TLS stays on TLS for a year.
	stayOnTLS = []string{"max-age=31536000"}
)

// protect sets the headers that keep browsers from doing more with an answer
// than showing it.
func protect(h http.Header, r *http.Request) {
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noStore
	h["Content-Security-Policy"] = strictCSP
	h["Referrer-Policy"] = noReferrer
	if r.TLS != nil {
		h["Strict-Transport-Security"] = stayOnTLS
	}
}
