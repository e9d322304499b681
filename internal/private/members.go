package private

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Members returns the members of a JSON object by their exact names. A member that comes
// twice is an error: of two readers of a file, one could take the first and one the last.
func Members(text []byte) (map[string]json.RawMessage, error) {
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		return nil, err
	}
	r := json.NewDecoder(bytes.NewReader(text)) // of valid JSON
	if begin, err := r.Token(); err != nil || begin != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	all := make(map[string]json.RawMessage)
	for r.More() {
		var v json.RawMessage
		name, err := r.Token()
		if err == nil {
			err = r.Decode(&v)
		}
		if err != nil {
			return nil, err
		}
		if _, ok := all[name.(string)]; ok {
			return nil, fmt.Errorf("the member %q is there twice", name)
		}
		all[name.(string)] = v
	}
	return all, nil
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

// WithoutMark returns a text without its byte order mark, which editors on Windows write.
func WithoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }
