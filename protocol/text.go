package protocol

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The text dialect (SPEC §5): one message is one line of UTF-8, ended by LF or
// CRLF. Words are separated by one space; the last field is the rest of the line,
// byte for byte. A verb that ends in 64 has its last field in base64.
//
//	client                        server
//	REGISTER <id> [<token|-> [heartbeat=60s]]
//	                              REGISTERED <session> [words for people]
//	DATA[64] <n> <payload>        DATA[64] <seq> <payload>
//	ACK[64] <seq> [result]        ACK[64] <n> [result]
//	NAK[64] <seq> [reason]        NAK[64] <n> [reason]
//	RETRY[64] <seq> [reason]      RETRY[64] <n> [reason]
//	PING  PONG                    PING  PONG
//	BYE                           CLOSE <code> <retry_ms> <text>
//	                              ERROR <code> <text>
//
// The seq of an ephemeral message is written with an e before it: e7.

// parseText reads the line at the start of b. After a line that is too long
// nothing can be read.
func parseText(b []byte, r reading) (m message, n int, err *wireError) {
	limit := maxRegister
	if r.open {
		limit = maxLine // SPEC §8
	}
	line, n, err := nextLine(b, limit)
	if n == 0 {
		return m, 0, err
	}
	m, err = parseLine(line)
	return m, n, err
}

// checkTextRegister returns why r cannot be sent.
func checkTextRegister(r *Register) *wireError {
	switch {
	case !validID(r.ID, maxClientID):
		return badClientID(maxClientID)
	case !isPlainText([]byte(r.Token)):
		return broken(ReasonBadRegister, "token has control characters")
	case strings.ContainsRune(r.Token, ' '), r.Token == noToken, strings.HasPrefix(r.Token, heartbeatOption):
		return broken(ReasonBadRegister, "token is not one word, or has another meaning there")
	case r.Heartbeat < 0:
		return broken(ReasonBadRegister, "heartbeat below 0")
	case len(r.ID)+len(r.Token) > maxRegister-longestVerb-longestOption:
		return broken(ReasonBadRegister, "token too long")
	}
	return nil
}

// nextLine returns the line at the start of b without its end, and its size with
// it. n 0 without an error means that the line is incomplete.
func nextLine(b []byte, maxLen int) (line []byte, n int, err *wireError) {
	i := bytes.IndexByte(b[:min(len(b), maxLen+2)], '\n') // CR and LF do not count
	switch {
	case i < 0 && len(b) < maxLen+2:
		return nil, 0, nil
	case i >= 0:
		line = bytes.TrimSuffix(b[:i:i], []byte{'\r'})
	}
	if i < 0 || len(line) > maxLen {
		return nil, 0, broken(ReasonFrameTooLarge, "line longer than %d bytes", maxLen)
	}
	return line, i + 1, nil
}

// cutWord splits line at its first space. rest is nil if there is none.
func cutWord(line []byte) (word, rest []byte) {
	word, rest, found := bytes.Cut(line, []byte{' '})
	if !found {
		return word, nil
	}
	return word, rest
}

// verb is the first word of a line.
type verb struct {
	kind   byte
	code   AckCode
	base64 bool
	alone  bool // no field follows it
}

// verbs are upper case on the wire and read in any case, because people type
// them.
var verbs = map[string]verb{
	"REGISTER":   {kind: typeRegister},
	"REGISTERED": {kind: typeRegisterAck},
	"PING":       {kind: typeHeartbeat, alone: true},
	"PONG":       {kind: typeHeartbeatAck, alone: true},
	"DATA":       {kind: typeData},
	"DATA64":     {kind: typeData, base64: true},
	"ACK":        {kind: typeAck, code: AckOK},
	"ACK64":      {kind: typeAck, code: AckOK, base64: true},
	"NAK":        {kind: typeAck, code: AckReject},
	"NAK64":      {kind: typeAck, code: AckReject, base64: true},
	"RETRY":      {kind: typeAck, code: AckRetry},
	"RETRY64":    {kind: typeAck, code: AckRetry, base64: true},
	"BYE":        {kind: typeClose, alone: true},
	"CLOSE":      {kind: typeClose},
	"ERROR":      {kind: kindError},
}

const longestVerb = len("REGISTERED")

// parseLine reads one line. The payload borrows from it unless it is base64.
func parseLine(line []byte) (m message, err *wireError) {
	word, rest := cutWord(line)
	verb, known := verbOf(word)
	switch {
	case !utf8.Valid(line) && verb.kind != typeRegister: // parseRegisterLine says more
		return m, broken(ReasonInvalidUTF8, "line is not UTF-8; send bytes with DATA64")
	case len(bytes.TrimSpace(line)) == 0:
		m.kind = kindBlank
		return m, nil
	case !known:
		return m, unknownCommand()
	}
	m.kind, m.code = verb.kind, verb.code
	switch {
	case m.kind == typeData, m.kind == typeAck:
		err = parseNumbered(&m, rest, verb.base64)
	case m.kind == typeRegister:
		m.register, err = parseRegisterLine(rest)
	case m.kind == typeRegisterAck:
		session, _ := cutWord(rest)
		m.accepted = &Registered{Session: string(session)}
	case len(bytes.TrimSpace(rest)) > 0 && verb.alone:
		err = broken(ReasonProtocolError, "nothing may follow %s", bytes.ToUpper(word))
	case m.kind == typeClose && verb.alone: // BYE
		m.close = new(Close)
	case m.kind == typeClose:
		m.close, err = parseCloseLine(rest)
	case m.kind == kindError:
		m.close = &Close{Text: cutText(string(rest))}
	}
	return m, err
}

func unknownCommand() *wireError {
	return broken(ReasonUnknownCommand, "unknown command; try REGISTER <id>, DATA <n> <text>, ACK <seq>, PING or BYE")
}

func verbOf(word []byte) (v verb, known bool) {
	if len(word) > longestVerb {
		return v, false
	}
	var upper [longestVerb]byte
	name := upper[:copy(upper[:], word)]
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			name[i] = c - 'a' + 'A'
		}
	}
	v, known = verbs[string(name)]
	return v, known
}

// parseNumbered reads "<seq> [payload]"; an ephemeral seq begins with e.
func parseNumbered(m *message, rest []byte, isBase64 bool) *wireError {
	number, payload := cutWord(rest)
	if len(number) > 0 && number[0] == 'e' {
		m.ephemeral, number = true, number[1:]
	}
	seq, ok := parseNumber(number)
	if !ok || seq == 0 {
		return broken(ReasonProtocolError, "a number above 0 must follow the command")
	}
	m.seq, m.payload = seq, payload
	if !isBase64 {
		return nil
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(payload)))
	n, err := base64.StdEncoding.Strict().Decode(raw, payload)
	if err != nil || bytes.ContainsAny(payload, "\r\n") {
		return broken(ReasonProtocolError, "not base64 with padding")
	}
	m.payload = raw[:n]
	return nil
}

func parseNumber(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 || b[0] < '0' || b[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	return n, err == nil
}

// Words that may follow the id in a REGISTER line.
const (
	noToken         = "-" // in the place of a token: no token
	heartbeatOption = "heartbeat="
	longestOption   = len(" - " + heartbeatOption + "3600000ms")
)

func parseRegisterLine(rest []byte) (*Register, *wireError) {
	words := append(strings.Fields(string(rest)), "", "") // at least the id and the token
	r, err := registerOf(words)
	return r, err.of(words[0])
}

func registerOf(words []string) (*Register, *wireError) {
	r := &Register{ID: words[0], Token: words[1]}
	options := words[2:max(2, len(words)-2)]
	switch {
	case !validID(r.ID, maxClientID):
		return nil, broken(ReasonBadClientID, "id must be %s; try REGISTER my-device", idRule(maxClientID))
	case !isPlainText([]byte(r.Token)):
		return nil, broken(ReasonBadRegister, "token has control characters or is not UTF-8")
	case strings.HasPrefix(r.Token, heartbeatOption):
		return nil, broken(ReasonBadRegister, "the token comes before %s; write - for none", heartbeatOption)
	case r.Token == noToken:
		r.Token = ""
	}
	if len(options) == 0 {
		return r, nil
	}
	value, ok := strings.CutPrefix(options[0], heartbeatOption)
	if ok {
		r.Heartbeat, ok = parseInterval(value)
	}
	if !ok || len(options) > 1 {
		return nil, broken(ReasonBadRegister, "REGISTER takes an id, a token (one word, - for none) and %s60s, and nothing else", heartbeatOption)
	}
	return r, nil
}

// parseInterval reads digits and a unit, such as 60s. A value above MaxHeartbeat
// becomes MaxHeartbeat.
func parseInterval(s string) (d time.Duration, ok bool) {
	digits := strings.TrimRight(s, "hms")
	unit := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour}[s[len(digits):]]
	n, ok := parseNumber([]byte(digits))
	if !ok || unit == 0 || n == 0 {
		return 0, false
	}
	return time.Duration(min(n, uint64(MaxHeartbeat/unit))) * unit, true
}

func appendInterval(b []byte, d time.Duration) []byte {
	if d%time.Second == 0 {
		return append(strconv.AppendInt(b, int64(d/time.Second), 10), 's')
	}
	return append(strconv.AppendInt(b, d.Milliseconds(), 10), "ms"...)
}

// These words follow the session. They are for people; devices ignore them.
const (
	tokenUnchecked = " the word after the id is a token, and this server does not check it;"
	greeting       = " answer DATA <n> with ACK <n>, PING with PONG"
)

func parseCloseLine(rest []byte) (*Close, *wireError) {
	first, rest := cutWord(rest)
	second, text := cutWord(rest)
	code, ok1 := parseNumber(first)
	retry, ok2 := parseNumber(second)
	if !ok1 || !ok2 || code > 1<<16-1 || retry > 1<<32-1 {
		return nil, broken(ReasonProtocolError, "CLOSE needs a code and milliseconds")
	}
	return &Close{Code: CloseCode(code), RetryAfter: time.Duration(retry) * time.Millisecond, Text: cutText(string(text))}, nil
}

// appendText appends m as a line that a peer in the other role reads.
func appendText(b []byte, m message) []byte {
	switch m.kind {
	case typeRegister:
		b = append(b, "REGISTER "...)
		b = append(b, m.register.ID...)
		switch token := m.register.Token; {
		case token != "":
			b = append(append(b, ' '), token...)
		case m.register.Heartbeat != 0:
			b = append(append(b, ' '), noToken...)
		}
		if h := m.register.Heartbeat; h != 0 {
			b = appendInterval(append(append(b, ' '), heartbeatOption...), h)
		}
	case typeRegisterAck:
		b = append(b, "REGISTERED "...)
		b = append(b, oneLine(m.accepted.Session)...)
		if m.accepted.TokenUnchecked {
			b = append(b, tokenUnchecked...)
		}
		b = append(b, greeting...)
	case typeHeartbeat:
		b = append(b, "PING"...)
	case typeHeartbeatAck:
		b = append(b, "PONG"...)
	case typeData:
		b = appendNumbered(b, "DATA", &m)
	case typeAck:
		b = appendNumbered(b, [...]string{AckOK: "ACK", AckReject: "NAK", AckRetry: "RETRY"}[m.code], &m)
	case typeClose:
		b = append(b, "CLOSE "...)
		b = strconv.AppendUint(b, uint64(m.close.Code), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, retryMillis(*m.close), 10)
		b = append(b, ' ')
		b = append(b, closeText(*m.close)...)
	case kindBye:
		b = append(b, "BYE"...)
	case kindError:
		b = append(b, "ERROR "...)
		b = append(b, m.close.Text...)
	}
	return append(b, '\n')
}

func appendNumbered(b []byte, verb string, m *message) []byte {
	b = append(b, verb...)
	plain := isPlainText(m.payload)
	if !plain {
		b = append(b, "64"...)
	}
	b = append(b, ' ')
	if m.ephemeral {
		b = append(b, 'e')
	}
	b = strconv.AppendUint(b, m.seq, 10)
	switch {
	case len(m.payload) == 0:
	case plain:
		b = append(b, ' ')
		b = append(b, m.payload...)
	default:
		b = append(b, ' ')
		b = base64.StdEncoding.AppendEncode(b, m.payload)
	}
	return b
}

// isPlainText reports whether p can be in a line unchanged.
func isPlainText(p []byte) bool { return utf8.Valid(p) && !hasControl(p) }

func hasControl(p []byte) bool {
	for i := 0; i < len(p); {
		if c := p[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return true
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(p[i:])
		if unicode.IsControl(r) {
			return true
		}
		i += n
	}
	return false
}

// oneLine replaces bytes that would break a line, or a terminal, with spaces.
func oneLine(s string) string {
	if isPlainText([]byte(s)) {
		return s
	}
	return string(bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, bytes.ToValidUTF8([]byte(s), []byte("?"))))
}
