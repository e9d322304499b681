package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// member is a JSON member of an object that ?fields= can select.
type member struct {
	name  string
	index []int // of the struct's field
	omit  bool  // left out if it is zero
}

// membersOf returns the members of T as encoding/json writes them, in order.
func membersOf[T any]() []member {
	var list []member
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if name := jsonName(f); name != "" && !f.Anonymous {
			list = append(list, member{name, f.Index, strings.Contains(f.Tag.Get("json"), ",omitempty")})
		}
	}
	return list
}

// fields takes the members of all to show; nil = all but those that are shown only when
// they are named. The first of all is always shown.
func (q *query) fields(all []member) []member {
	v := q.one("fields")
	if v == "" {
		return nil
	}
	named := map[string]bool{all[0].name: true}
	for name := range strings.SplitSeq(v, ",") {
		if !slices.ContainsFunc(all, func(m member) bool { return m.name == name }) {
			q.fail("fields", "has no member %q", name)
		}
		named[name] = true
		if name == "preview" {
			named["preview_base64"] = true // of a payload that is no text
		}
	}
	var list []member
	for _, m := range all {
		if named[m.name] {
			list = append(list, m)
		}
	}
	return list
}

// shows reports whether fields has one of the members.
func shows(fields []member, names ...string) bool {
	return slices.ContainsFunc(fields, func(m member) bool { return slices.Contains(names, m.name) })
}

// narrowed shows some members of an object.
type narrowed[T any] struct {
	of     *T
	fields []member
}

func (n narrowed[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	v := reflect.ValueOf(n.of).Elem()
	for _, m := range n.fields {
		f := v.FieldByIndex(m.index)
		if m.omit && f.IsZero() {
			continue
		}
		value, err := json.Marshal(f.Interface())
		if err != nil {
			return nil, err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + m.name + `":`)
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// narrowAll shows some members of each item.
func narrowAll[T any](items []T, fields []member) []narrowed[T] {
	list := make([]narrowed[T], len(items))
	for i := range items {
		list[i] = narrowed[T]{&items[i], fields}
	}
	return list
}
