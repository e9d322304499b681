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

// newestUplinks yields uplinks newest first.
func (c *Client) newestUplinks(ctx context.Context, q UplinkQuery, v url.Values, yield func(Uplink, error) bool) {
	v.Set("order", "desc")
	for n, before := 0, q.Before; ; {
		size := pageSize
		if q.Limit > 0 {
			size = min(size, q.Limit-n)
		}
		v.Set("limit", strconv.Itoa(size))
		if before > 0 {
			v.Set("before", strconv.FormatUint(before, 10))
		}
		var p uplinkPage
		if _, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/uplinks", query: v, idempotent: true}, &p); err != nil {
			yield(Uplink{}, err)
			return
		}
		for _, u := range p.Items {
			if !yield(u, nil) {
				return
			}
			if n++; n == q.Limit {
				return
			}
		}
		if !p.More || p.NextBefore == 0 || before > 0 && p.NextBefore >= before {
			return
		}
		before = p.NextBefore
	}
}
