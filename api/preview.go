package api

import (
	"unicode/utf8"

	"github.com/longwire/longwire/gateway"
)

// Digest describes a payload in a list. Its members are shown only if ?fields= names
// them, so that a page need not carry payloads.
type Digest struct {
	PayloadBytes  *int    `json:"payload_bytes,omitempty" example:"5"`                        // length of the payload; only if fields names it
	Content       string  `json:"content,omitempty" enums:"text,json,binary"`                 // kind of the payload; only if fields names it
	Preview       *string `json:"preview,omitempty" example:"hello"`                          // the first 64 bytes of the payload if it is text or JSON; only if fields names it
	PreviewBase64 []byte  `json:"preview_base64,omitzero" swaggertype:"string" format:"byte"` // the same of other payloads
}

// previewLen is the length of a preview, in bytes.
const previewLen = 64

// Values of Digest.Content.
const (
	contentText   = "text"
	contentJSON   = "json"
	contentBinary = "binary"
)

func digestOf(payload []byte, content string) Digest {
	n := len(payload)
	d := Digest{PayloadBytes: &n, Content: content}
	if content == contentBinary {
		d.PreviewBase64 = present(payload[:min(n, previewLen)])
		return d
	}
	end := min(n, previewLen)
	for end > 0 && end < n && !utf8.RuneStart(payload[end]) {
		end--
	}
	d.Preview = new(string(payload[:end]))
	return d
}

// present returns b, and an empty slice for nil: omitzero leaves out nil alone, and an
// empty payload is one.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// contentOf returns the kind of a message's payload.
func contentOf(e gateway.Encoding) string {
	switch e {
	case gateway.EncodingText:
		return contentText
	case gateway.EncodingJSON:
		return contentJSON
	}
	return contentBinary
}

// contentOfUplink returns the kind of a device's payload. A device does not say that text
// is JSON.
func contentOfUplink(payload []byte) string {
	if utf8.Valid(payload) {
		return contentText
	}
	return contentBinary
}

// digestNames are the members of Digest.
var digestNames = []string{"payload_bytes", "content", "preview", "preview_base64"}
