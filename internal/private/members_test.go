package private

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func TestMembersAreReadByTheirNames(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", ` {"a": {"a": 1, "A": [2]}, "A": null} `: "", `{"a":1,"\u0061":2}`: `"a" is there twice`,
		`[]`: "not a JSON object", `null`: "not a JSON object", ``: "unexpected end", `{"a":1`: "unexpected end", `{"a" 1}`: "invalid", `{"a":1,}`: "invalid", `{"a":1]`: "invalid",
		`{} {}`: "after top-level value", `{"a":tru}`: "invalid",
	} {
		_, err := Members([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	var v struct {
		A *int `json:"a"`
	}
	for text, want := range map[string]string{
		`{"a":1}`: "", `{}`: "", `{"A":1}`: `no member "A"`, `{"a":null}`: `"a" is null`, `{"a":1,"b":2}`: `no member "b"`, `{"a":"1"}`: "cannot unmarshal",
	} {
		err := Decode([]byte(text), &v, "a")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]int{`{"a":1,"A":2,"b":3}`: 1, `{"A":2,"a":1}`: 1, `{"A":2}`: 0, `{"a":1,"a":2}`: -1, `{"b":1,"b":2}`: -1} {
		got := struct {
			A int `json:"a"`
		}{}
		if err := Pick([]byte(text), &got, "a"); (err == nil) != (want >= 0) || err == nil && got.A != want {
			t.Errorf("%s: %d, %v, want %d", text, got.A, err, want)
		}
	}
}

// The members are those that encoding/json finds, whatever is between and in them.
func TestMembersAreTheTextsOfTheirValues(t *testing.T) {
	for _, text := range []string{
		`{}`, " \t\r\n{ \n}\r", `{"a":1}`, ` { "a" : -1.5e+3 , "b":true,"c" :null}`, `{"":"","a":"\"","b":"\\","c":"}{,:[]"}`,
		`{"a":{"b":{"c":"}"}},"d":[1,[2,"]"],{}]}`, `{"\u0061\"b":1,"é":"\ud83d\ude00"}`, `{"a":[],"b":{},"c":[ ] , "d":0}`,
	} {
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		got, err := Members([]byte(text))
		if err != nil || !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%s has %q, %v, want %q", text, got, err, want)
		}
	}
}

// A file of tokens has up to a million lines, and each is read so.
func TestMembersTakeLittle(t *testing.T) {
	line := []byte(`{"client":"truck-1","sha256":"00","created_at":"2026-11-30T20:02:34Z","groups":["a"],"note":"rack 3"}`)
	if n := testing.AllocsPerRun(100, func() { Members(line) }); n > 25 {
		t.Errorf("%v allocations for five members, want some", n)
	}
}
