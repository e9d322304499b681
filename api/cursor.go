package api

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/longwire/longwire/gateway"
)

// A cursor is base64url of a letter, which names the kind of list, and the key
// after which the next page starts. Callers must not look inside.
const (
	cursorClients    = 'c'
	cursorMessages   = 'm'
	cursorDeliveries = 'd'
	cursorHistory    = 'h'
)

func encodeCursor(kind byte, key string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{kind}, key...))
}

// cursor takes the cursor parameter; "" when absent.
func (q *query) cursor(kind byte, valid func(string) bool) string {
	v := q.one("cursor")
	if v == "" {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(v)
	if err != nil || len(raw) < 2 || raw[0] != kind || !valid(string(raw[1:])) {
		if q.err == nil {
			q.err = problem(invalidCursor, "the cursor is not one that this list gave")
			q.err.Errors = []FieldError{{Parameter: "cursor", Detail: "not a cursor of this list"}}
		}
		return ""
	}
	return string(raw[1:])
}

func validClient(key string) bool { return gateway.ClientID(key).Valid() }
func validSeq(key string) bool    { _, err := strconv.ParseUint(key, 10, 64); return err == nil }

// validMessage checks the shape only: the message itself may be gone by now.
func validMessage(key string) bool {
	rest, ok := strings.CutPrefix(key, "msg_")
	return ok && plainToken(rest, 64)
}

// linkNext names the next page in a header too (RFC 8288).
func linkNext(w http.ResponseWriter, r *http.Request, cursor string) {
	if cursor == "" {
		return
	}
	q := r.URL.Query()
	q.Set("cursor", cursor)
	next := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
	w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
}
