package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// query reads a request's parameters. It keeps the problem of the first bad one in
// err. Its method done refuses a parameter that the handler has not read: a misspelt
// filter must not look like an empty result.
type query struct {
	values url.Values
	err    *problem.Problem
}

func queryOf(r *http.Request) *query {
	if r.URL.RawQuery == "" {
		return &query{}
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values}
	switch {
	case err != nil:
		q.err = problem.New(problem.InvalidParameter, "the query string is malformed")
	case !isText(values): // an answer would show other metadata than the caller has sent
		q.err = problem.New(problem.InvalidParameter, "the query string is not UTF-8")
	}
	return q
}

// isText reports whether all names and values are UTF-8.
func isText(values url.Values) bool {
	for name, list := range values {
		if !utf8.ValidString(name) || slices.ContainsFunc(list, func(v string) bool { return !utf8.ValidString(v) }) {
			return false
		}
	}
	return true
}

func (q *query) fail(name, format string, args ...any) {
	if q.err == nil {
		q.err = problem.BadParameter(name, format, args...)
	}
}

// all takes a parameter that may be repeated.
func (q *query) all(name string) []string {
	v := q.values[name]
	delete(q.values, name)
	return v
}

// one takes a parameter that may be given once; "" when absent. It refuses an empty one: a
// script whose variable is not set would get another answer than it asks for.
func (q *query) one(name string) string {
	if v, ok := q.values[name]; ok && len(v) == 1 && v[0] == "" {
		q.fail(name, "is empty: give it a value, or leave it out")
	}
	return q.text(name)
}

// text takes a parameter that may be given once, and may be empty; "" when absent.
func (q *query) text(name string) string {
	v := q.all(name)
	if len(v) > 1 {
		q.fail(name, "is given more than once")
	}
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

func (q *query) oneOf(name, standard string, allowed ...string) string {
	v := q.one(name)
	if v == "" {
		return standard
	}
	if slices.Contains(allowed, v) {
		return v
	}
	q.fail(name, "must be one of %s", strings.Join(allowed, ", "))
	return standard
}

func (q *query) integer(name string, standard, min, max int) int {
	v := q.one(name)
	if v == "" {
		return standard
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < min || n > max {
		q.fail(name, "must be %d to %d", min, max)
		return standard
	}
	return n
}

func (q *query) limit() int {
	return q.integer("limit", gateway.DefaultListSize, 1, gateway.MaxListLimit)
}

func (q *query) flag(name string) bool { return q.oneOf(name, "false", "true", "false") == "true" }

// duration takes a duration of min to max; given is false when it is absent.
func (q *query) duration(name string, min, max time.Duration) (d time.Duration, given bool) {
	v := q.one(name)
	if v == "" {
		return 0, false
	}
	d, err := parseDuration(v)
	if err != nil || d < min || d > max {
		q.fail(name, "must be a duration from %s to %s, such as 5s", min, max)
		return 0, false
	}
	return d, true
}

// since takes a time, or a duration that counts back from now.
func (q *query) since(name string, now time.Time) time.Time {
	v := q.one(name)
	if v == "" {
		return time.Time{}
	}
	t, why := timeBefore(v, now)
	if why != "" {
		q.fail(name, "%s", why)
	}
	return t
}

// firstTime and lastTime are the range of the times that select. Nothing has happened
// before the one or after the other, so they stand for all times there. Such a time can be
// the zero time, which means that none is given, or overflow nanoseconds since 1970.
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Date(2262, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// timeBefore reads a time, or a duration that counts back from now. It is from firstTime
// to lastTime. For any other text timeBefore returns the fault.
func timeBefore(text string, now time.Time) (t time.Time, wrong string) {
	if t, wrong = readTime(text, now); wrong != "" {
		return t, wrong
	}
	switch {
	case t.Before(firstTime):
		return firstTime, ""
	case t.After(lastTime):
		return lastTime, ""
	}
	return t, ""
}

func readTime(text string, now time.Time) (t time.Time, wrong string) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, ""
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Time{}, "has no unit. A Unix time is not taken; write an RFC 3339 time, or a duration such as 1h"
	}
	if d, err := parseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), ""
	}
	return time.Time{}, "must be an RFC 3339 time or a duration such as 1h"
}

func (q *query) clientID(name string) gateway.ClientID {
	id := gateway.ClientID(q.one(name))
	if id != "" && !id.Valid() {
		q.fail(name, "is "+gateway.NotClientID)
	}
	return id
}

// eventNumber takes the number of an event; 0 when absent.
func (q *query) eventNumber(name string) uint64 {
	v := q.one(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		q.fail(name, "must be a sequence number")
	}
	return n
}

// prefix takes the start of client ids. Another text would select nothing, as a misspelt
// filter.
func (q *query) prefix(name string) string {
	v := q.one(name)
	if id := gateway.ClientID(v); v != "" && v != "." && v != ".." && !id.Valid() {
		q.fail(name, "starts no client id: 1 to 128 of A-Z a-z 0-9 . _ : @ -")
	}
	return v
}

// group takes the name of a group, known or not.
func (q *query) group(name string) string {
	v := q.one(name)
	if v != "" && !gateway.ValidGroup(v) {
		q.fail(name, "is no name of a group: 1 to %d of A-Z a-z 0-9 . _ : @ -, and neither . nor ..", gateway.MaxGroupName)
	}
	return v
}

// state takes a delivery state by name; zero for none. It is one of allowed. The error for
// another name lists these, and before them those in also, which the caller has taken.
func (q *query) state(name string, allowed []string, also ...string) gateway.State {
	v := q.one(name)
	if v == "" {
		return 0
	}
	if !slices.Contains(allowed, v) {
		q.fail(name, "must be one of %s", strings.Join(slices.Concat(also, allowed), ", "))
		return 0
	}
	s, _ := gateway.ParseState(v)
	return s
}

// deliveryStates are the states of a delivery, messageStates those that a list of messages
// selects by: sent is one of a delivery alone.
var (
	deliveryStates = []string{"queued", "sent", "acked", "rejected", "expired", "canceled", "failed", "unknown"}
	messageStates  = slices.DeleteFunc(slices.Clone(deliveryStates), func(s string) bool { return s == "sent" })
)

// prefixed takes every parameter whose name begins with prefix.
func (q *query) prefixed(prefix string) map[string]string {
	var found map[string]string
	for name := range q.values {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if found == nil {
				found = make(map[string]string)
			}
			found[rest] = q.text(name)
		}
	}
	return found
}

// done returns the first problem, or names a parameter that is not known.
func (q *query) done() error {
	if q.err != nil {
		return q.err
	}
	unknown := ""
	for name := range q.values {
		if unknown == "" || name < unknown {
			unknown = name
		}
	}
	if len(q.values) > 0 {
		return problem.BadParameter(unknown, "is not a parameter of this call")
	}
	return nil
}

// pathParam returns a part of the path. chi leaves it percent-encoded if the caller
// encoded the path in another way than Go does.
func pathParam(r *http.Request, name string) string {
	part := chi.URLParam(r, name)
	if r.URL.RawPath != "" {
		if plain, err := url.PathUnescape(part); err == nil {
			return plain
		}
	}
	return part
}

// clientInPath returns the {id} of the path.
func clientInPath(r *http.Request) (gateway.ClientID, error) { return clientParam(r, "id") }

// clientParam takes the client that a part of the path names.
func clientParam(r *http.Request, name string) (gateway.ClientID, error) {
	if id := gateway.ClientID(pathParam(r, name)); id.Valid() {
		return id, nil
	}
	return "", problem.BadParameter(name, "is "+gateway.NotClientID)
}

func messageInPath(r *http.Request) gateway.MessageID {
	return gateway.MessageID(pathParam(r, "id"))
}
