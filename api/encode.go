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
	buf  bytes.Buffer
	json *json.Encoder
}

// maxPooled bounds the buffers that pools keep, in bytes.
const maxPooled = 64 << 10

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}}

func (e *encoder) release() {
	if e.buf.Cap() <= maxPooled {
		e.buf.Reset()
		encoders.Put(e)
	}
}

// writeJSON answers with v as JSON and a newline, in one write of known length.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	writeBody(w, "application/json", status, v)
	return nil
}

func writeBody(w http.ResponseWriter, contentType string, status int, v any) {
	e := encoders.Get().(*encoder)
	defer e.release()
	if err := e.json.Encode(v); err != nil {
		panic(err) // every answer is made of plain types: a defect, not a condition
	}
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(e.buf.Len())}
	w.WriteHeader(status)
	w.Write(e.buf.Bytes()) // an error means that the caller is gone
}

// timeLayout is RFC 3339 in UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// stamp formats t, "" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// textOrBase64 shows bytes as text where they are valid UTF-8; exactly one of
// the results is set. Nil bytes give neither.
func textOrBase64(b []byte) (text *string, raw []byte) {
	if b == nil {
		return nil, nil
	}
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	return nil, b
}

// milliseconds is a duration as the API shows it.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
