package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// encoder is a pooled JSON encoder with its buffer.
type encoder struct {
	buf   bytes.Buffer
	json  *json.Encoder
	plain []byte // for values that are written without encoding/json
}

// maxPooled bounds the buffers that pools keep, in bytes.
const maxPooled = 64 << 10

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}}

// encode appends v. It panics if v cannot be encoded: v has plain types only, so
// that is a defect.
func (e *encoder) encode(v any) {
	if err := e.json.Encode(v); err != nil {
		panic(err)
	}
}

func (e *encoder) release() {
	if e.buf.Cap() <= maxPooled && cap(e.plain) <= maxPooled {
		e.buf.Reset()
		encoders.Put(e)
	}
}

// writeJSON answers with v as JSON and a newline, in one write.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	writeBody(w, typeJSON, status, v)
	return nil
}

// noContent answers 204 if err is nil.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// Header values that are shared and never changed.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
)

func writeBody(w http.ResponseWriter, contentType []string, status int, v any) {
	e := encoders.Get().(*encoder)
	defer e.release()
	e.encode(v)
	writeBytes(w, contentType, status, e.buf.Bytes())
}

// writeMessage is writeJSON for the answer to a push.
func writeMessage(w http.ResponseWriter, status int, m *Message) error {
	e := encoders.Get().(*encoder)
	defer e.release()
	body, ok := appendMessage(e.plain[:0], m)
	e.plain = body
	if !ok {
		e.encode(*m)
		body = e.buf.Bytes()
	}
	writeBytes(w, typeJSON, status, body)
	return nil
}

// lengthKnown is the longest body, in bytes, whose length net/http computes and
// writes when the handler returns, without allocating a string for it.
const lengthKnown = 2 << 10

func writeBytes(w http.ResponseWriter, contentType []string, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	if x, ok := w.(*exchange); len(body) > lengthKnown || ok && x.lingers {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	w.Write(body) // an error means that the caller is gone
}

// timeLayout is RFC 3339 in UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// stamp formats t in timeLayout, "" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.Format(timeLayout)
	}
	hour, minute, second := t.Clock()
	b := [len(timeLayout)]byte{4: '-', 7: '-', 10: 'T', 13: ':', 16: ':', 19: '.', 23: 'Z'}
	digits(b[0:4], year)
	digits(b[5:7], int(month))
	digits(b[8:10], day)
	digits(b[11:13], hour)
	digits(b[14:16], minute)
	digits(b[17:19], second)
	digits(b[20:23], t.Nanosecond()/int(time.Millisecond))
	return string(b[:])
}

// digits writes n in decimal over all of b.
func digits(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

// textOrBase64 returns b as text if it is valid UTF-8, else as raw bytes.
func textOrBase64(b []byte) (text *string, raw []byte) {
	if utf8.Valid(b) {
		return new(string(b)), nil
	}
	return nil, b
}

// milliseconds converts a duration to the unit of the API.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
