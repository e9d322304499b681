package api

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// idempotencyKey returns the key of the header, quoted as a structured field or
// bare; "" when there is none.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(key[1 : len(key)-1])
	}
	if len(values) > 1 || !validIdempotencyKey(key) {
		return "", problem.BadParameter("Idempotency-Key", "must be one value of %s", idempotencyRule)
	}
	return key, nil
}

// idempotencyRule is validIdempotencyKey in words.
var idempotencyRule = fmt.Sprintf("1 to %d characters of printable ASCII", gateway.MaxIdempotency)

// validIdempotencyKey reports whether a header can carry the key and a log can show
// it. A key of a bulk line can then be repeated in a header.
func validIdempotencyKey(key string) bool {
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return false
		}
	}
	return key != "" && len(key) <= gateway.MaxIdempotency
}

// identify puts an idempotency key into p, and the hash that a repeated request
// must have. The hash covers the decoded request and not its bytes, so that the
// same push in another spelling, or as a bulk line, is the same request.
func (p *push) identify(key, principal string) error {
	if p.online {
		if err := p.checkOnline(); err != nil {
			return err
		}
	}
	if key == "" {
		return nil
	}
	p.IdempotencyKey, p.Scope = key, principal
	h := sha256.New()
	mix(h, string(p.To.Client), p.To.Group)
	for _, id := range p.To.Clients {
		mix(h, string(id))
	}
	mixMap(h, p.To.Labels)
	mixMap(h, p.Metadata)
	mix(h, string(p.Payload))
	binary.Write(h, binary.BigEndian, []uint64{uint64(len(p.To.Clients)), uint64(p.Encoding), uint64(p.TTL),
		bit(p.To.All), bit(p.OnlineOnly), bit(p.QueueUnknown)})
	if p.Rate != 0 { // hashes stored before Rate existed stay valid
		binary.Write(h, binary.BigEndian, uint64(p.Rate))
	}
	if p.MaxRecipients != 0 { // likewise
		mix(h, "max_recipients")
		binary.Write(h, binary.BigEndian, uint64(p.MaxRecipients))
	}
	if p.online { // likewise
		mix(h, modeOnline)
	}
	h.Sum(p.Fingerprint[:0])
	return nil
}

// mix hashes each string after its length, so that no two lists collide.
func mix(h hash.Hash, parts ...string) {
	for _, s := range parts {
		binary.Write(h, binary.BigEndian, uint64(len(s)))
		h.Write([]byte(s))
	}
}

func mixMap(h hash.Hash, m map[string]string) {
	binary.Write(h, binary.BigEndian, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		mix(h, k, m[k])
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
