package api

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
)

// slowly reads a body with encoding/json and the validator.
func slowly(data []byte, allowed members) (p push, key string, err error) {
	switch allowed {
	case membersOne:
		var body PushOne
		if err = decodeObject(data, &body); err == nil {
			err = p.set(&body.Content, &body.Options)
		}
	case membersMany:
		var body PushMany
		if err = decodeObject(data, &body); err == nil {
			err = p.setMany(&body)
		}
	default:
		var body BulkLine
		if err = decodeObject(data, &body); err == nil {
			err = p.setMany(&body.PushMany)
		}
		if body.Key != nil {
			key = *body.Key
		}
	}
	return p, key, err
}

// checkEnvelope: what readEnvelope takes, the slow way takes too, and means the
// same. What it does not take leaves no trace.
func checkEnvelope(t *testing.T, data []byte) (taken members) {
	t.Helper()
	for _, allowed := range []members{membersOne, membersMany, membersBulk} {
		before := push{wait: waiting{d: time.Second}}
		p := before
		key, ok := p.readEnvelope(data, allowed)
		if !ok {
			if !reflect.DeepEqual(p, before) {
				t.Errorf("%q was not taken, and left %+v", data, p)
			}
			continue
		}
		taken |= allowed
		want, wantKey, err := slowly(data, allowed)
		want.wait = before.wait
		if err != nil {
			t.Errorf("%q is taken, and is wrong: %v", data, err)
		} else if !reflect.DeepEqual(p, want) || key != wantKey {
			t.Errorf("%q means %+v with key %q, want %+v with %q", data, p, key, want, wantKey)
		}
	}
	return taken
}

func TestPlainEnvelopesAreTaken(t *testing.T) {
	for body, want := range map[string]members{
		`{"text":"hello"}`: membersOne,
		` { "text" : "hello" , "mode" : "online" } ` + "\r\n\t":                      membersOne,
		`{"text":"","ttl":"90s","on_unknown":"queue","mode":"durable"}`:              membersOne,
		`{"text":"grüß \"dich\" \\ \/ \n\t\r\b\f"}`:                                  membersOne,
		`{"base64":"AAEC/w==","on_unknown":"fail"}`:                                  membersOne,
		`{"to":{"client":"truck-17"},"text":"x","mode":"online"}`:                    membersMany | membersBulk,
		`{"key":"row-1","text":"x","to": { "client" : "a" } }`:                       membersBulk,
		`{"text":"` + strings.Repeat("x", gateway.MaxPayload) + `","mode":"online"}`: membersOne,
	} {
		if got := checkEnvelope(t, []byte(body)); got != want {
			t.Errorf("%.100s is taken as %b, want %b", body, got, want)
		}
	}
}

// What has to be explained, or is rare, is not for the fast way.
var unplainEnvelopes = []string{
	``, ` `, `{`, `{}`, `null`, `[]`, `{"text"}`, `{"text":}`, `{"text":"x"`, `{"text":"x",}`, `{"text":"x"}}`, `{"text":"x"} x`,
	`{"text":"x""mode":"online"}`, `{"Text":"x"}`, `{"te\u0078t":"x"}`, `{"text":"x","text":"y"}`, `{"text":null}`, `{"text":1}`,
	`{"text":"a` + "\n" + `b"}`, `{"text":"\u00e4"}`, `{"text":"\x"}`, `{"text":"\`, `{"text":"\"`, "{\"text\":\"\xff\"}", `{"text":"x","nope":1}`,
	`{"text":"x","base64":"eA=="}`, `{"base64":"eA"}`, `{"base64":"e A="}`, `{"base64":"eA==\n"}`, `{"json":{"a":1}}`, `{"text":"x","json":1}`,
	`{"text":"x","mode":""}`, `{"text":"x","mode":"ONLINE"}`, `{"text":"x","ttl":""}`, `{"text":"x","ttl":"0s"}`, `{"text":"x","ttl":"31d"}`,
	`{"text":"x","ttl":"soon"}`, `{"text":"x","on_unknown":""}`, `{"text":"x","metadata":{"a":"b"}}`, `{"text":"x","metadata":{}}`,
	`{"text":"x","to":{}}`, `{"text":"x","to":{"client":""}}`, `{"text":"x","to":{"client":"a b"}}`, `{"text":"x","to":{"client":"a","client":"b"}}`,
	`{"text":"x","to":{"clients":["a"]}}`, `{"text":"x","to":{"all":true}}`, `{"text":"x","to":null}`, `{"text":"x","to":{"client":"a"},"rate":5}`,
	`{"text":"x","to":{"client":"a"},"online_only":false}`, `{"text":"x","to":{"client":"a"},"key":"` + strings.Repeat("k", 256) + `"}`,
	`{"mode":"online"}`, `{"to":{"client":"a"}}`, `{"text":"` + strings.Repeat("x", gateway.MaxPayload+1) + `"}`,
}

func TestOtherEnvelopesAreLeftAlone(t *testing.T) {
	for _, body := range unplainEnvelopes {
		if got := checkEnvelope(t, []byte(body)); got != 0 {
			t.Errorf("%.100q is taken as %b", body, got)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"text":"hello","mode":"online","ttl":"1h"}`))
	f.Add([]byte(`{"to":{"client":"a"},"base64":"AAEC/w==","key":"k","on_unknown":"queue"}`))
	f.Add([]byte(`{"text":"\"\\\/\b\f\n\r\t ä"}`))
	for _, body := range unplainEnvelopes {
		if len(body) < 1000 {
			f.Add([]byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkEnvelope(t, data) })
}

// encoded is v as encoding/json writes it.
func encoded(v any) string {
	e := encoders.Get().(*encoder)
	defer e.release()
	e.encode(v)
	return e.buf.String()
}

// Every member of an answer is set in turn, so that one that is added and
// forgotten in the fast way shows.
func TestPlainJSONIsWhatEncodingJSONWrites(t *testing.T) {
	fast := 0
	check := func(slow string, got []byte, ok bool) {
		t.Helper()
		if !ok {
			return
		}
		fast++
		if d := cmp.Diff(slow, string(got)); d != "" {
			t.Errorf("want -, got +:\n%s", d)
		}
	}
	for _, text := range []string{"", "msg_1", "a b<&>'~", `"`, `\`, "ä", "\n", "\x7f", "\u2028"} {
		eachFilled(Message{}, text, func(m Message) {
			got, ok := appendMessage(nil, &m)
			check(encoded(m), got, ok)
		})
		eachFilled(BulkResult{}, text, func(r BulkResult) {
			got, ok := appendBulkResult([]byte("before\n"), &r)
			check("before\n"+encoded(r), got, ok)
		})
	}
	if fast < 40 {
		t.Errorf("only %d of them were written the fast way", fast)
	}
}

// eachFilled calls f with v, with each member of v set, and with all.
func eachFilled[T any](v T, text string, f func(T)) {
	f(v)
	all := v
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if field.Anonymous {
			continue
		}
		one := v
		fill(reflect.ValueOf(&one).Elem().FieldByIndex(field.Index), text)
		f(one)
		fill(reflect.ValueOf(&all).Elem().FieldByIndex(field.Index), text)
	}
	f(all)
}

func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(len(text)))
	case reflect.Float64:
		v.SetFloat(float64(len(text)) / 1000)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type() == reflect.TypeFor[[]byte]() || v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("7"))
			return
		}
		fill(v.Index(0), text)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(text), reflect.ValueOf(text))
	}
}

func TestStampIsTheLayout(t *testing.T) {
	for _, at := range []time.Time{
		{}, time.Unix(0, 0), time.Unix(1_700_000_000, 999_999_999), time.Date(2026, 2, 28, 23, 59, 59, 1e6, time.FixedZone("", -5*3600)),
		time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		want := at.UTC().Format(timeLayout)
		if at.IsZero() {
			want = ""
		}
		if got := stamp(at); got != want {
			t.Errorf("stamp(%v) = %q, want %q", at, got, want)
		}
	}
}
