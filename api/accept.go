package api

import (
	"net/http"
	"strconv"
	"strings"
)

// How a header Accept or Accept-Encoding names a thing.
const (
	notAtAll  = iota
	namedAll  // by */* or *
	namedType // by the type and /*
	exactly
)

// accepted returns the quality that a header gives to a media type or a coding, from 0 (not
// acceptable) to 1, and how the header names it. The most exact part of the header counts
// (RFC 9110, section 12.5).
func accepted(r *http.Request, header, thing string) (quality float64, by int) {
	class, _, _ := strings.Cut(thing, "/")
	for part := range strings.SplitSeq(strings.ToLower(strings.Join(r.Header[header], ",")), ",") {
		name, parameters, _ := strings.Cut(part, ";")
		found := notAtAll
		switch strings.TrimSpace(name) {
		case thing:
			found = exactly
		case class + "/*":
			found = namedType
		case "*/*", "*":
			found = namedAll
		}
		if found > by {
			quality, by = qualityOf(parameters), found
		}
	}
	return quality, by
}

// qualityOf returns the parameter q, 1 if it is absent or no number from 0 to 1.
func qualityOf(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.TrimSpace(name) != "q" {
			continue
		}
		if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && q >= 0 && q <= 1 {
			return q
		}
	}
	return 1
}

// asksFor reports whether a caller names a media type or a coding, and wants it.
func asksFor(r *http.Request, header, thing string) bool {
	quality, by := accepted(r, header, thing)
	return by == exactly && quality > 0
}

// wantsLines reports whether the caller asks for NDJSON rather than for server-sent events;
// ok is false when it accepts neither form.
func wantsLines(r *http.Request) (lines, ok bool) {
	if strings.Join(r.Header["Accept"], "") == "" {
		return false, true
	}
	asEvents, eventsBy := accepted(r, "Accept", "text/event-stream")
	asLines, linesBy := accepted(r, "Accept", "application/x-ndjson")
	return asLines > asEvents || asLines == asEvents && linesBy > eventsBy, max(asEvents, asLines) > 0
}
