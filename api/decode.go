package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// bodies pools the buffers that JSON bodies are read into; what is decoded from
// them keeps no reference.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// decodeJSON reads the request's body as one JSON object into v and validates
// it. Every error is a *Problem.
func (s *server) decodeJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return s.withBody(w, r, func(data []byte) error { return decodeObject(data, v) })
}

// withBody reads the request's body for the time of one call.
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
	if r.ContentLength > limit {
		return tooLarge(limit, "the body")
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
			if err := s.bodies.take(x.principal, n); err != nil {
				return err
			}
			x.bodySize += n
		}
		switch {
		case errors.Is(err, io.EOF):
			x.bodyRead = true
			return nil
		case err != nil:
			return s.bodyProblem(err)
		}
	}
}

// decodeObject decodes exactly one JSON object without unknown members.
func decodeObject(data []byte, v any) error {
	if err := decodeStrict(data, v); err != nil {
		return err
	}
	return validate(v)
}

func decodeStrict(data []byte, v any) error {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 {
		return problem(malformedJSON, "the body is empty; a JSON object is expected")
	} else if trimmed[0] != '{' {
		return problem(malformedJSON, "the body is not a JSON object")
	}
	if !utf8.Valid(data) {
		return problem(malformedJSON, "the body is not UTF-8; use base64 for other bytes")
	}
	if len(data) > scanFrom {
		if pointer, ok := findUnknown(data, reflect.TypeOf(v).Elem()); ok {
			return unknownMember(pointer)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeProblem(data, v, err)
	}
	if rest := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n"); len(rest) != 0 {
		return problem(malformedJSON, "data follows the JSON object at byte %d", len(data)-len(rest))
	}
	return nil
}

// scanFrom is the size in bytes from which a body is looked through for unknown
// members first: encoding/json reads all of it before it reports one.
const scanFrom = 16 << 10

func unknownMember(pointer string) error {
	p := problem(unknownField, "%s is not a member of this body", pointer)
	p.Errors = []FieldError{{Pointer: pointer, Detail: "unknown member"}}
	return p
}

func decodeProblem(data []byte, v any, err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		pointer := pointerOf(e.Field)
		p := problem(malformedJSON, "%s must be %s, not %s", pointer, jsonKind(e.Type), e.Value)
		p.Errors = []FieldError{{Pointer: pointer, Detail: "must be " + jsonKind(e.Type)}}
		return p
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return problem(malformedJSON, "at byte %d: %s", e.Offset, e.Error())
	}
	if pointer, ok := findUnknown(data, reflect.TypeOf(v).Elem()); ok {
		return unknownMember(pointer)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return problem(malformedJSON, "the JSON object is not closed")
	}
	return problem(malformedJSON, "the body is not valid JSON")
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
	}
	return "a number"
}

// findUnknown returns the pointer of the first member that t does not have, and
// reads no further. Other errors are not its to find.
func findUnknown(data []byte, t reflect.Type) (string, bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		known := jsonFields(t)
		for m := range orderedMembers(data) {
			field, ok := known[strings.ToLower(m.name)]
			if !ok {
				return "/" + escapePointer(m.name), true
			}
			if inner, ok := findUnknown(m.value, field); ok {
				return "/" + escapePointer(m.name) + inner, true
			}
		}
	case reflect.Slice:
		var items []json.RawMessage
		if t.Elem().Kind() == reflect.Uint8 || json.Unmarshal(data, &items) != nil {
			return "", false
		}
		for i, item := range items {
			if inner, ok := findUnknown(item, t.Elem()); ok {
				return "/" + strconv.Itoa(i) + inner, true
			}
		}
	}
	return "", false
}

type member struct {
	name  string
	value json.RawMessage
}

// orderedMembers are the members of a JSON object in source order, up to the
// first that cannot be read.
func orderedMembers(data []byte) iter.Seq[member] {
	return func(yield func(member) bool) {
		dec := json.NewDecoder(bytes.NewReader(data))
		if open, err := dec.Token(); err != nil || open != json.Delim('{') {
			return
		}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return
			}
			m := member{name: name.(string)}
			if dec.Decode(&m.value) != nil || !yield(m) {
				return
			}
		}
	}
}

// jsonFields maps the lower-case JSON names of a struct, embedded ones included,
// to their types: encoding/json takes member names in any case.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(t) {
		if name := jsonName(f); name != "" && !f.Anonymous {
			fields[strings.ToLower(name)] = f.Type
		}
	}
	return fields
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
