package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"

	"github.com/longwire/longwire/api/internal/problem"
)

// inspection walks a syntactically valid JSON object and finds four errors that
// encoding/json accepts: a repeated member, a member in another case, half a
// surrogate pair, which encoding/json replaces, and null among strings, which
// becomes "". Two readers of one body could disagree on these. encoding/json/v2
// refuses the first three, too. It also refuses "" for a member with the tag
// empty:"no", because encoding/json does not distinguish it from an absent member.
type inspection struct {
	data []byte
	at   int // of the next byte

	before int    // of an error
	last   string // pointer of the last value that begins before it
}

// jsonSpace is what may stand around a value (RFC 8259, section 2).
const jsonSpace = " \t\r\n"

// inspect returns the first problem of a body that encoding/json has decoded into v
// with the error err. It does not find errors of types itself, but their place.
func inspect(data []byte, v any, err error) error {
	i := inspection{data: data}
	mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if ok {
		i.before = int(mistyped.Offset)
	}
	if p := i.value(reflect.TypeOf(v), ""); p != nil {
		return p
	}
	if ok {
		return wrongType(mistyped, i.last)
	}
	return nil
}

// value walks one value. t is the type that it is decoded into, nil for any.
func (i *inspection) value(t reflect.Type, pointer string) *problem.Problem {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == rawJSON {
		t = nil
	}
	i.space()
	if i.at < i.before {
		i.last = pointer
	}
	switch i.data[i.at] {
	case '{':
		return i.object(t, pointer)
	case '[':
		return i.array(t, pointer)
	case '"':
		_, p := i.string(pointer)
		return p
	}
	for i.at < len(i.data) && strings.IndexByte(",]}"+jsonSpace, i.data[i.at]) < 0 {
		i.at++
	}
	return nil
}

func (i *inspection) object(t reflect.Type, pointer string) *problem.Problem {
	known, of := jsonFields(t), elementOf(t)
	seen := make(map[string]bool)
	for i.at++; i.enter('}'); {
		start := i.at
		name, p := i.string(pointer)
		if p != nil {
			return p
		}
		here := pointer + "/" + escapePointer(name)
		if _, ok := known[name]; known != nil && !ok {
			return unknownMember(known, name, here)
		}
		if seen[name] {
			return misread(here, start, "is there twice")
		}
		seen[name] = true
		i.space()
		i.at++ // the colon
		if p := i.notNull(of, here); p != nil {
			return p
		}
		field := known[name]
		if field.empty == "no" && i.data[i.at] == '"' && i.data[i.at+1] == '"' {
			return problem.InvalidBody(here, "is empty: give it a value, or leave it out")
		}
		if p := i.value(cmp.Or(field.t, of), here); p != nil {
			return p
		}
	}
	return nil
}

func (i *inspection) array(t reflect.Type, pointer string) *problem.Problem {
	element := elementOf(t)
	n := 0
	for i.at++; i.enter(']'); n++ {
		here := pointer + "/" + strconv.Itoa(n)
		if p := i.notNull(element, here); p != nil {
			return p
		}
		if p := i.value(element, here); p != nil {
			return p
		}
	}
	return nil
}

// notNull refuses null as an element of type t, unless t has a nil: encoding/json
// leaves the element empty.
func (i *inspection) notNull(t reflect.Type, pointer string) *problem.Problem {
	i.space()
	if t == nil || t.Kind() == reflect.Pointer || i.data[i.at] != 'n' {
		return nil
	}
	return misread(pointer, i.at, "must be "+jsonKind(t)+", not null")
}

var rawJSON = reflect.TypeFor[json.RawMessage]()

// elementOf returns the type of the elements of a slice or map; nil for another type.
func elementOf(t reflect.Type) reflect.Type {
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		return t.Elem()
	}
	return nil
}

// enter goes to the next member or element. It reports false behind the last one.
func (i *inspection) enter(end byte) bool {
	i.space()
	c := i.data[i.at]
	if c == end || c == ',' {
		i.at++
		i.space()
	}
	return c != end
}

// string walks a string and returns its value.
func (i *inspection) string(pointer string) (string, *problem.Problem) {
	start, escaped := i.at, false
	for i.at++; i.data[i.at] != '"'; i.at++ {
		if i.data[i.at] != '\\' {
			continue
		}
		escaped = true
		if i.at++; i.data[i.at] == 'u' && !i.surrogates() {
			return "", misread(pointer, start, "has half a surrogate pair; it is no Unicode text")
		}
	}
	i.at++
	raw := i.data[start:i.at]
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is valid
	return s, nil
}

// surrogates steps to the end of a \u escape, or of the two escapes of a pair. It
// reports false for half a pair.
func (i *inspection) surrogates() bool {
	first := i.hex(i.at + 1)
	i.at += 4
	if !utf16.IsSurrogate(first) {
		return true
	}
	if i.data[i.at+1] != '\\' || i.data[i.at+2] != 'u' {
		return false
	}
	i.at += 6
	return utf16.DecodeRune(first, i.hex(i.at-3)) != '\uFFFD'
}

func (i *inspection) hex(at int) rune {
	n, _ := strconv.ParseUint(string(i.data[at:at+4]), 16, 32) // it is valid
	return rune(n)
}

func (i *inspection) space() {
	for i.at < len(i.data) && strings.IndexByte(jsonSpace, i.data[i.at]) >= 0 {
		i.at++
	}
}

func misread(pointer string, at int, what string) *problem.Problem {
	p := problem.New(problem.MalformedJSON, "at byte %d: %s %s", at+1, pointer, what)
	p.Errors = []problem.FieldError{{Pointer: pointer, Detail: what}}
	return p
}

func unknownMember(known map[string]field, name, pointer string) *problem.Problem {
	detail := "unknown member"
	for k := range known {
		if strings.EqualFold(k, name) {
			detail = "unknown member: names are in lower case, such as " + k
		}
	}
	p := problem.New(problem.UnknownField, "%s is not a member of this body", pointer)
	p.Errors = []problem.FieldError{{Pointer: pointer, Detail: detail}}
	return p
}

// field is a member of a body.
type field struct {
	t     reflect.Type
	empty string // the tag
}

// jsonFields maps the JSON names of a struct, embedded ones included, to its
// fields; nil for another type. It finds them once for each type.
func jsonFields(t reflect.Type) map[string]field {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	if fields, ok := fieldsOf.Load(t); ok {
		return fields.(map[string]field)
	}
	fields := make(map[string]field)
	for _, f := range reflect.VisibleFields(t) {
		if name := jsonName(f); name != "" && !f.Anonymous {
			fields[name] = field{f.Type, f.Tag.Get("empty")}
		}
	}
	fieldsOf.Store(t, fields)
	return fields
}

var fieldsOf sync.Map // reflect.Type to map[string]field

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escapePointer(name string) string { return pointerEscapes.Replace(name) }
