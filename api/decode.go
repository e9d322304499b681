package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/longwire/longwire/api/internal/problem"
)

// bodies pools the buffers that JSON bodies are read into. Decoded values keep no
// reference to them.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// bodyOf reads a request's body as one JSON object into v and validates it. The error for
// another media type shows example.
func (s *server) bodyOf(w http.ResponseWriter, r *http.Request, example string, v any) error {
	if err := wantJSON(w, r, example); err != nil {
		return err
	}
	return s.withBody(w, r, func(data []byte) error { return decodeObject(data, v) })
}

// wantJSON returns an error with a command that sends example, unless a request's body
// is JSON.
func wantJSON(w http.ResponseWriter, r *http.Request, example string) error {
	if mediaType(r) == "application/json" {
		return nil
	}
	method := ""
	if r.Method != http.MethodPost {
		method = "-X " + r.Method + " "
	}
	return problem.New(problem.UnsupportedMediaType, "send a JSON object: curl %s-H 'Content-Type: application/json' -d '%s' '%s'",
		method, example, urlOf(w, r))
}

// patchOf reads a request's body, a JSON merge patch (RFC 7396), into v. It returns the
// names of the members that are null: in v they look like absent ones.
func (s *server) patchOf(w http.ResponseWriter, r *http.Request, v any) (nulls []string, err error) {
	if t := mediaType(r); t != "application/json" && t != "application/merge-patch+json" {
		return nil, problem.New(problem.UnsupportedMediaType, "send Content-Type: application/merge-patch+json")
	}
	err = s.withBody(w, r, func(data []byte) error {
		if err := decodeObject(data, v); err != nil {
			return err
		}
		var members map[string]json.RawMessage
		_ = json.Unmarshal(data, &members) // it was decoded before
		for name, value := range members {
			if string(value) == "null" {
				nulls = append(nulls, name)
			}
		}
		return nil
	})
	return nulls, err
}

// withBody reads the request's body and calls use with it. The buffer is reused
// when use has returned.
func (s *server) withBody(w http.ResponseWriter, r *http.Request, use func(data []byte) error) error {
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	if err := s.readBody(w, r, s.cfg.MaxBody, buf); err != nil {
		return err
	}
	return use(buf.Bytes())
}

// readBody appends the body, of at most limit bytes, to buf.
func (s *server) readBody(w http.ResponseWriter, r *http.Request, limit int64, buf *bytes.Buffer) error {
	coding, err := contentCoding(r)
	if err != nil {
		return err
	}
	if r.ContentLength > limit {
		return problem.TooLarge(limit, "the body")
	}
	body := io.Reader(r.Body)
	if r.ContentLength < 0 {
		body = http.MaxBytesReader(w, r.Body, limit)
	}
	x := exchangeOf(w)
	s.drain.reading(x)
	defer s.drain.read(x)
	buf.Grow(int(min(max(r.ContentLength, 0), maxPooled)) + bytes.MinRead) // a longer body takes its memory as it comes
	for {
		buf.Grow(bytes.MinRead)
		free := buf.AvailableBuffer()
		n, err := body.Read(free[:cap(free)])
		buf.Write(free[:n])
		if n > 0 {
			if err := s.bodies.Take(x.principal, n); err != nil {
				return err
			}
			x.bodySize += n
		}
		switch {
		case errors.Is(err, io.EOF):
			x.bodyRead = true
			return s.decodeBody(x, coding, limit, buf)
		case err != nil:
			return s.bodyProblem(err)
		}
	}
}

// decodeObject decodes exactly one JSON object and validates it. It refuses unknown
// members, repeated members, members in another case, invalid UTF-8 and half
// surrogate pairs.
func decodeObject(data []byte, v any) error {
	if err := decodeStrict(data, v); err != nil {
		return err
	}
	return validate(v)
}

func decodeStrict(data []byte, v any) error {
	trimmed := bytes.TrimLeft(data, jsonSpace)
	switch {
	case len(trimmed) == 0:
		return problem.New(problem.MalformedJSON, "the body is empty; a JSON object is expected")
	case bytes.HasPrefix(data, []byte("\ufeff")):
		return problem.New(problem.MalformedJSON, "at byte 1: the body begins with a byte order mark (EF BB BF); send UTF-8 without one")
	case trimmed[0] != '{':
		return problem.New(problem.MalformedJSON, "the body is not a JSON object")
	case !utf8.Valid(data):
		return problem.New(problem.MalformedJSON, "the body is not UTF-8; use base64 for other bytes")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(v)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return problem.New(problem.MalformedJSON, "at byte %d: %s%s", e.Offset, e.Error(), syntaxAdvice(data, e))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return problem.New(problem.MalformedJSON, "at byte %d: the JSON object is not closed", len(data))
	}
	if err := inspect(data, v, err); err != nil {
		return err
	}
	if err != nil {
		return problem.New(problem.MalformedJSON, "the body is not valid JSON")
	}
	if rest := bytes.TrimLeft(data[dec.InputOffset():], jsonSpace); len(rest) != 0 {
		return problem.New(problem.MalformedJSON, "at byte %d: data follows the JSON object", len(data)-len(rest)+1)
	}
	return nil
}

// syntaxAdvice returns what to write instead at the mistakes that people make most: a
// comma too many or too few, and other quotes than double ones.
func syntaxAdvice(data []byte, e *json.SyntaxError) string {
	at := int(e.Offset) - 1
	if at < 0 || at >= len(data) {
		return ""
	}
	before := bytes.TrimRight(data[:at], jsonSpace)
	switch c := data[at]; {
	case (c == '}' || c == ']') && bytes.HasSuffix(before, []byte(",")):
		return "; no comma may stand before " + string(c)
	case c == '\'':
		return "; names and strings stand in double quotes"
	case c == '"':
		return "; a comma must stand before it"
	case strings.Contains(e.Error(), "beginning of object key"):
		return "; a name in double quotes must stand here"
	}
	return ""
}

// wrongType returns the problem that names the value of the wrong type.
func wrongType(e *json.UnmarshalTypeError, pointer string) error {
	p := problem.New(problem.MalformedJSON, "at byte %d: %s must be %s, not %s", e.Offset, pointer, jsonKind(e.Type), e.Value)
	p.Errors = []problem.FieldError{{Pointer: pointer, Detail: "must be " + jsonKind(e.Type)}}
	return p
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.Int, reflect.Int64:
		return "a whole number below 2^63, without a point and an exponent"
	}
	return "a number"
}
