package protocol

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode"
)

// Mask returns a copy of a FrameRegister in which each byte of the credential is a
// *. The copy has the same length.
func Mask(d Dialect, register []byte) []byte {
	b := bytes.Clone(register)
	if int(d) < len(dialects) && dialects[d].mask != nil {
		dialects[d].mask(b)
	}
	return b
}

func stars(b []byte) {
	for i := range b {
		b[i] = '*'
	}
}

// maskV1 masks all that follows the id.
func maskV1(b []byte) {
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		stars(b[i+1:])
	}
}

// maskText masks the words behind the id that are no known options. Words are
// those that a REGISTER line is read with.
func maskText(b []byte) {
	word := 0
	for rest := b; len(rest) > 0; {
		n := bytes.IndexFunc(rest, func(r rune) bool { return !unicode.IsSpace(r) })
		if n < 0 {
			return
		}
		rest = rest[n:]
		if n = bytes.IndexFunc(rest, unicode.IsSpace); n < 0 {
			n = len(rest)
		}
		w := rest[:n]
		if word++; word > 2 && string(w) != noToken && !(word > 3 && bytes.HasPrefix(w, []byte(heartbeatOption))) {
			stars(w)
		}
		rest = rest[n:]
	}
}

// maskV2 masks the value of the member token. The frame was read, so its body is
// JSON. A body that cannot be read again is masked whole.
func maskV2(b []byte) {
	f, _, err := parseFrame(b, maxRegister)
	if err != nil || f.body == nil {
		stars(b)
		return
	}
	if from, to, ok := member(f.body, "token"); ok {
		stars(f.body[from:to])
	}
}

// member returns the place of a member's text in an object, without its quotes. In a
// broken object the text is all that follows.
func member(body []byte, name string) (from, to int, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return 0, len(body), true
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return int(dec.InputOffset()), len(body), true
		}
		begin := int(dec.InputOffset())
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil && err != io.EOF {
			return begin, len(body), true
		}
		if key == name {
			end := int(dec.InputOffset())
			begin = end - len(value)
			if len(value) >= 2 && value[0] == '"' {
				return begin + 1, end - 1, true
			}
			return begin, end, true
		}
	}
	return 0, 0, false
}
