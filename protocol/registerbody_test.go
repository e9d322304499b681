package protocol

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A REGISTER means the same to every reader, and errors do not use the words of
// this program's language.
func TestRegistrationsAreReadStrictly(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"a","later":1}`:                     "",
		`{"id":"a","id":"b"}`:                      "twice",
		`{"id":"a","ID":"b"}`:                      "spelling",
		`{"Id":"a"}`:                               "spelling",
		`{"id":"a","heartbeat_ms":"x"}`:            "heartbeat_ms",
		`{"id":"a","ask_through":-1}`:              "ask_through",
		`{"id":"a",}`:                              "byte",
		`{"id":"a","labels":{"a":"1","a":"2"}}`:    "twice",
		`{"id":"a","labels":{"a":"1","A":"2"}}`:    "",
		`{"id":"a","labels":{"a":null}}`:           "null",
		`{"id":"a","labels":null}`:                 "",
		`{"id":"a","labels":{"a":"\ud800"}}`:       "half a surrogate pair in labels",
		`{"id":"a","labels":{"a":"\uDc00b"}}`:      "half a surrogate pair in labels",
		`{"id":"a","labels":{"a":"\ud83d\ud83d"}}`: "half a surrogate pair in labels",
		`{"id":"a","labels":{"a":"\ud83d\ude00"}}`: "",
		`{"id":"a","labels":{"a":"\\ud800"}}`:      "",
		`{"id":"a","token":"\ud800"}`:              "half a surrogate pair in token",
		`{"id":"a","later":["\ud800"]}`:            "",
		`{"id":"a","later":{"a":1,"a":2}}`:         "",
		`{"id":"a","groups":["a"],"GROUPS":["b"]}`: "spelling",
	} {
		_, err := decodeRegister([]byte(body))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v, want it taken", body, err)
		case want != "" && (err == nil || !strings.Contains(err.text, want)):
			t.Errorf("%s: %v, want an error with %q", body, err, want)
		case err != nil:
			for _, word := range []string{"json:", "Go ", "struct", "uint64", "int64"} {
				if strings.Contains(err.text, word) {
					t.Errorf("%s: %q has %q in it", body, err.text, word)
				}
			}
		}
	}
}

func TestEveryMemberOfARegistrationIsKnown(t *testing.T) {
	kind := reflect.TypeFor[registerJSON]()
	for i := range kind.NumField() {
		name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
		if !slices.Contains(registerNames, name) {
			t.Errorf("%s is not in registerNames", name)
		}
	}
}
