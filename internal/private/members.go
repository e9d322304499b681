package private

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Members returns the members of a JSON object by their exact names, as parts of text. A
// member that comes twice is an error: of two readers of a file, one could take the first
// and one the last.
func Members(text []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(text) {
		return nil, json.Unmarshal(text, new(json.RawMessage)) // why
	}
	rest := trim(text) // of valid JSON
	if rest[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	all := make(map[string]json.RawMessage)
	for rest = trim(rest[1:]); rest[0] != '}'; {
		n := length(rest)
		name := string(rest[1 : n-1])
		if strings.Contains(name, `\`) {
			if err := json.Unmarshal(rest[:n], &name); err != nil {
				return nil, err
			}
		}
		if _, ok := all[name]; ok {
			return nil, fmt.Errorf("the member %q is there twice", name)
		}
		rest = trim(trim(rest[n:])[1:]) // behind the colon
		n = length(rest)
		all[name] = rest[:n:n]
		if rest = trim(rest[n:]); rest[0] == ',' {
			rest = trim(rest[1:])
		}
	}
	return all, nil
}

func trim(text []byte) []byte { return bytes.TrimLeft(text, " \t\r\n") }

// length returns that of the value with which text begins, a part of a valid JSON object.
func length(text []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of a number or a word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
}

// Decode reads a JSON object into v. It returns an error for a member with another name
// than names, and for null. encoding/json passes over an unknown name and over null, and
// takes a name in another case. So a misspelled limit would be no limit.
func Decode(text []byte, v any, names ...string) error {
	all, err := Members(text)
	if err != nil {
		return err
	}
	for name, value := range all {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no member %q", name)
		}
		if string(value) == "null" {
			return fmt.Errorf("the member %q is null", name)
		}
	}
	return json.Unmarshal(text, v)
}

// Pick reads the members with these names into v, and passes over all others. For
// encoding/json a member in another case would be one of them.
func Pick(text []byte, v any, names ...string) error {
	all, err := Members(text)
	if err != nil {
		return err
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return !slices.Contains(names, name) })
	if text, err = json.Marshal(all); err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}
