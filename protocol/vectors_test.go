package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// vectorFile is testdata/vectors/<dialect>.json: what another implementation
// checks itself with (SPEC §10). `go test -run Vectors -update` fills in the
// outcomes from the bytes; review the diff.
type vectorFile struct {
	Dialect string   `json:"dialect"`
	Note    string   `json:"note"`
	Vectors []vector `json:"vectors"`
}

// vector is some bytes and their meaning. Exactly one of Incomplete, Error and
// Message is set.
type vector struct {
	Name string `json:"name"`
	// Ask is set when the ends have agreed on ASK (SPEC §2.3).
	Ask   bool   `json:"ask,omitempty"`
	Bytes string `json:"bytes"` // hex, spaces for people
	// Canonical is set when encoding Message gives Bytes again.
	Canonical  bool           `json:"canonical,omitempty"`
	Incomplete bool           `json:"incomplete,omitempty"` // more bytes are needed
	Error      string         `json:"error,omitempty"`      // reason
	Consumed   int            `json:"consumed,omitempty"`   // bytes, when not all
	Message    *vectorMessage `json:"message,omitempty"`
}

type vectorMessage struct {
	Type       string          `json:"type"`
	Seq        uint64          `json:"seq,omitempty"`
	Dup        bool            `json:"dup,omitempty"`
	Ephemeral  bool            `json:"ephemeral,omitempty"`
	Code       string          `json:"code,omitempty"`
	Payload    *string         `json:"payload,omitempty"`     // when it is UTF-8
	PayloadHex string          `json:"payload_hex,omitempty"` // when it is not
	Register   json.RawMessage `json:"register,omitempty"`
	Registered json.RawMessage `json:"registered,omitempty"`
	Close      *vectorClose    `json:"close,omitempty"`
	Text       string          `json:"text,omitempty"`
}

type vectorClose struct {
	Code         CloseCode `json:"code"`
	RetryAfterMS int64     `json:"retry_after_ms"`
	Text         string    `json:"text"`
}

const vectorMaxPayload = 256 << 10

func TestVectors(t *testing.T) {
	for _, dialect := range Dialects() {
		t.Run(dialect.String(), func(t *testing.T) {
			file := "testdata/vectors/" + dialect.String() + ".json"
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want, got vectorFile
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			got = want
			got.Vectors = nil
			for _, v := range want.Vectors {
				got.Vectors = append(got.Vectors, outcome(t, dialect, v))
			}
			if *update {
				writeVectors(t, file, got)
			} else if diff := cmp.Diff(want, got, cmp.Transformer("json", compactJSON)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func compactJSON(m json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, m) != nil {
		return string(m)
	}
	return b.String()
}

func writeVectors(t *testing.T, file string, f vectorFile) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(f); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// outcome decodes v.Bytes and returns v with the result.
func outcome(t *testing.T, dialect Dialect, v vector) vector {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(v.Bytes, " ", ""))
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	m, n, broken := decodeAny(dialect, raw, v.Ask)
	got := vector{Name: v.Name, Ask: v.Ask, Bytes: v.Bytes}
	switch {
	case broken != nil:
		got.Error = broken.reason
	case n == 0:
		got.Incomplete = true
	default:
		if n != len(raw) {
			got.Consumed = n
		}
		got.Message = describeVector(dialect, &m)
		got.Canonical = m.kind != kindBlank && bytes.Equal(encodeAny(dialect, &m), raw[:n])
	}
	return got
}

func decodeAny(dialect Dialect, b []byte, ask bool) (m message, n int, err *wireError) {
	return dialects[dialect].parse(b, reading{role: Server, open: true, payload: vectorMaxPayload, ask: ask})
}

func encodeAny(dialect Dialect, m *message) []byte { return dialects[dialect].append(nil, *m) }

func describeVector(dialect Dialect, m *message) *vectorMessage {
	v := &vectorMessage{Seq: m.seq, Dup: m.dup, Ephemeral: m.ephemeral}
	switch m.kind {
	case kindBlank:
		v.Type = "blank"
		return v
	case typeData:
		if m.head {
			v.Type, v.Dup = "ASK", false
			return v
		}
	case kindError:
		v.Type, v.Text = "ERROR", m.close.Text
		return v
	}
	v.Type = typeNames[m.kind]
	if m.register != nil {
		v.Register = encodeRegister(m.register)
	}
	if m.accepted != nil {
		v.Registered = encodeRegistered(m.accepted)
	}
	if m.kind == typeClose {
		v.Close = &vectorClose{m.close.Code, int64(m.close.RetryAfter / time.Millisecond), m.close.Text}
	}
	if m.kind == typeAck && dialect != V1 {
		v.Code = m.code.String()
	}
	if m.kind == typeData || m.kind == typeAck && dialect != V1 {
		if s := string(m.payload); utf8.ValidString(s) {
			v.Payload = &s
		} else {
			v.PayloadHex = hex.EncodeToString(m.payload)
		}
	}
	return v
}
