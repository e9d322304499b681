package api

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/longwire/longwire/gateway"
)

// envelope reads the plain form of a push without reflection: the members that
// most pushes have, each once, spelled as documented, with valid values. It leaves
// every other body to encoding/json and the validator, which make the problem if
// the body is invalid. They accept every body that envelope accepts, with the same
// result; a test compares the two.
type envelope struct {
	data    []byte
	allowed members
	seen    members
	push    *push
	key     string // of a bulk line
}

// members is a set of the members of a body.
type members uint8

const (
	memberText members = 1 << iota
	memberBase64
	memberMode
	memberTTL
	memberOnUnknown
	memberTo
	memberKey

	memberContent = memberText | memberBase64
	membersOne    = memberContent | memberMode | memberTTL | memberOnUnknown
	membersMany   = membersOne | memberTo
	membersBulk   = membersMany | memberKey
)

// readEnvelope sets p from data and reports true, or leaves it as it was.
func (p *push) readEnvelope(data []byte, allowed members) (key string, ok bool) {
	before := p.wait
	e := envelope{data: data, allowed: allowed, push: p}
	if e.read() {
		return e.key, true
	}
	*p = push{wait: before}
	return "", false
}

func (e *envelope) read() bool {
	if !e.object(e.member) || len(e.data) > 0 || len(e.push.Payload) > gateway.MaxPayload {
		return false
	}
	content := e.seen & memberContent
	return (content == memberText || content == memberBase64) && (e.allowed&memberTo == 0 || e.seen&memberTo != 0)
}

// object reads an object and the white space around it.
func (e *envelope) object(member func(name []byte) bool) bool {
	if !e.next('{') {
		return false
	}
	for {
		name, ok := e.plain()
		if !ok || !e.next(':') || !member(name) {
			return false
		}
		e.space()
		switch {
		case len(e.data) == 0:
			return false
		case e.data[0] == ',':
			e.data = e.data[1:]
		default:
			return e.next('}')
		}
	}
}

// member reads the value behind one of the names of the body.
func (e *envelope) member(name []byte) bool {
	switch string(name) {
	case "text":
		return e.once(memberText) && e.text()
	case "base64":
		return e.once(memberBase64) && e.base64()
	case "mode":
		return e.once(memberMode) && e.mode()
	case "ttl":
		return e.once(memberTTL) && e.ttl()
	case "on_unknown":
		return e.once(memberOnUnknown) && e.onUnknown()
	case "to":
		return e.once(memberTo) && e.to()
	case "key":
		return e.once(memberKey) && e.idempotencyKey()
	}
	return false
}

func (e *envelope) once(m members) bool {
	first := e.allowed&m != 0 && e.seen&m == 0
	e.seen |= m
	return first
}

func (e *envelope) text() bool {
	raw, escaped, ok := e.quoted()
	if !ok {
		return false
	}
	e.push.Encoding = gateway.EncodingText
	if !escaped {
		e.push.Payload = append(make([]byte, 0, len(raw)), raw...)
		return true
	}
	e.push.Payload, ok = unescape(raw)
	return ok
}

func (e *envelope) base64() bool {
	raw, ok := e.plain()
	if !ok {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(raw)))
	n, err := base64.StdEncoding.Decode(out, raw)
	e.push.Payload, e.push.Encoding = out[:n], gateway.EncodingBinary
	return err == nil
}

func (e *envelope) mode() bool {
	v, ok := e.plain()
	e.push.online = string(v) == modeOnline
	return ok && (e.push.online || string(v) == modeDurable)
}

func (e *envelope) ttl() bool {
	v, ok := e.plain()
	if !ok {
		return false
	}
	d, err := parseDuration(string(v))
	e.push.TTL = d
	return err == nil && d >= gateway.MinTTL && d <= gateway.MaxTTL
}

func (e *envelope) onUnknown() bool {
	v, ok := e.plain()
	e.push.QueueUnknown = string(v) == unknownQueue
	return ok && (e.push.QueueUnknown || string(v) == unknownFail)
}

// to reads the audience that is one client.
func (e *envelope) to() bool {
	found := false
	return e.object(func(name []byte) bool {
		id, ok := e.plain()
		if !ok || found || string(name) != "client" {
			return false
		}
		found = true
		e.push.To.Client = gateway.ClientID(id)
		return e.push.To.Client.Valid()
	})
}

func (e *envelope) idempotencyKey() bool {
	v, ok := e.plain()
	e.key = string(v)
	return ok && validIdempotencyKey(e.key)
}

func (e *envelope) space() {
	i := 0
	for i < len(e.data) && (e.data[i] == ' ' || e.data[i] == '\t' || e.data[i] == '\r' || e.data[i] == '\n') {
		i++
	}
	e.data = e.data[i:]
}

// next takes c and the white space around it.
func (e *envelope) next(c byte) bool {
	e.space()
	if len(e.data) == 0 || e.data[0] != c {
		return false
	}
	e.data = e.data[1:]
	e.space()
	return true
}

// plain takes a string of ASCII without escapes.
func (e *envelope) plain() ([]byte, bool) {
	e.space()
	if len(e.data) == 0 || e.data[0] != '"' {
		return nil, false
	}
	for i, c := range e.data[1:] {
		switch {
		case c == '"':
			v := e.data[1 : 1+i]
			e.data = e.data[2+i:]
			return v, true
		case c < ' ', c == '\\', c >= utf8.RuneSelf:
			return nil, false
		}
	}
	return nil, false
}

// quoted takes any string. It returns the escapes as they are.
func (e *envelope) quoted() (raw []byte, escaped, ok bool) {
	e.space()
	if len(e.data) == 0 || e.data[0] != '"' {
		return nil, false, false
	}
	ascii := true
	for i := 1; i < len(e.data); i++ {
		switch c := e.data[i]; {
		case c == '"':
			raw = e.data[1:i]
			e.data = e.data[i+1:]
			return raw, escaped, ascii || utf8.Valid(raw)
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			return nil, false, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false, false
}

// unescape resolves escapes of one character. ok is false for \u and for an
// invalid escape.
func unescape(raw []byte) (plain []byte, ok bool) {
	plain = make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '\\' {
			i++
			switch raw[i] {
			case '"', '\\', '/':
				c = raw[i]
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			default:
				return nil, false
			}
		}
		plain = append(plain, c)
	}
	return plain, true
}
