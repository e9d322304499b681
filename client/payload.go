package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Digest describes a payload in a list: its members are set if the query's Fields name
// them.
type Digest struct {
	PayloadBytes  *int    `json:"payload_bytes,omitempty"`
	Content       string  `json:"content,omitempty"`        // text, json or binary
	Preview       *string `json:"preview,omitempty"`        // the first 64 bytes of text or JSON
	PreviewBase64 []byte  `json:"preview_base64,omitempty"` // the first 64 bytes of another payload
}

// rawBody is an answer that is not JSON.
type rawBody []byte

// MessagePayload returns the payload of a message: the bytes that the device gets.
func (c *Client) MessagePayload(ctx context.Context, messageID string) ([]byte, error) {
	return c.payload(ctx, "/v1/messages/"+url.PathEscape(messageID)+"/payload")
}

// UplinkPayload returns the payload of the uplink with a sequence.
func (c *Client) UplinkPayload(ctx context.Context, seq uint64) ([]byte, error) {
	return c.payload(ctx, "/v1/uplinks/"+strconv.FormatUint(seq, 10)+"/payload")
}

func (c *Client) payload(ctx context.Context, path string) ([]byte, error) {
	var b rawBody
	_, err := c.call(ctx, request{method: http.MethodGet, path: path, header: http.Header{"Accept": {"*/*"}}, idempotent: true}, &b)
	return b, err
}
