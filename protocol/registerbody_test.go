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
		`{"id":"a","labels":{"a":"1","a":"2"}}`:    "",
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
