package api

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// A cursor is base64url of a letter, which names the kind of list, and the key
// after which the next page starts. The cursor of a limited key may name a row
// beyond its limit, because a page may end at such a row. It is therefore sealed
// under that key: the caller cannot read or make one, and no other caller can use
// it.
const (
	cursorClients    = 'c' // behind an id
	cursorClientsAt  = 'C' // from an id
	cursorClientsUp  = 'u' // back, before an id
	cursorClientsTo  = 'U' // back, from an id
	cursorMessages   = 'm'
	cursorMessagesUp = 'M' // oldest first
	cursorDeliveries = 'd'
	cursorHistory    = 'h'
	cursorKeys       = 'k'
	cursorRefused    = 'n'
)

// cursors writes and reads the cursors of one caller.
type cursors struct{ seal cipher.AEAD } // nil = plain

// cursorsOf returns the cursors of this request's caller.
func cursorsOf(w http.ResponseWriter) cursors {
	key := viewOf(w).Key()
	if key.Limit.None() {
		return cursors{}
	}
	return cursors{seal: sealOf(key)}
}

func sealOf(key *apikey.Key) cipher.AEAD {
	secret := key.Derive("list cursors")
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return seal
}

func (c cursors) encode(kind byte, key string) string {
	raw := append([]byte{kind}, key...)
	if c.seal != nil {
		raw = c.seal.Seal(nil, nil, raw, nil)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// decode returns the key of a cursor of that kind; ok is false for any other.
func (c cursors) decode(kind byte, cursor string) (key string, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil && c.seal != nil {
		raw, err = c.seal.Open(nil, nil, raw, nil)
	}
	if err != nil || len(raw) < 2 || raw[0] != kind {
		return "", false
	}
	return string(raw[1:]), true
}

// cursor takes the parameter of that name; "" is the first page.
func (q *query) cursor(c cursors, kind byte, valid func(string) bool) string {
	v := q.text("cursor")
	if v == "" {
		return ""
	}
	key, ok := c.decode(kind, v)
	if !ok || !valid(key) {
		if q.err == nil {
			q.err = problem.New(problem.InvalidCursor, "the cursor is not one that this list gave")
			q.err.Errors = []problem.FieldError{{Parameter: "cursor", Detail: "not a cursor of this list"}}
		}
		return ""
	}
	return key
}

func validClient(key string) bool { return gateway.ClientID(key).Valid() }
func validSeq(key string) bool    { _, err := strconv.ParseUint(key, 10, 64); return err == nil }

// validMessage checks the shape only: the message itself may be gone by now.
func validMessage(key string) bool {
	rest, ok := strings.CutPrefix(key, "msg_")
	return ok && plainToken(rest, 64)
}

// linkPages names the next page and the one before in a header too (RFC 8288).
func linkPages(w http.ResponseWriter, r *http.Request, next, prev string) {
	var links []string
	for _, page := range [][2]string{{next, "next"}, {prev, "prev"}} {
		if page[0] == "" {
			continue
		}
		q := r.URL.Query()
		q.Set("cursor", page[0])
		u := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
		links = append(links, "<"+u.String()+`>; rel="`+page[1]+`"`)
	}
	if links != nil {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
}
