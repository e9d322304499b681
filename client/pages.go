package client

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
)

// pageSize is how many items one request of a list asks for.
const pageSize = 500

// page is one answer of a list.
type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}

// pages follows the cursors of a list and yields its items, at most limit of them
// (0 = all). An error is the last value it yields. A second range starts from the
// beginning.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		q := maps.Clone(query)
		if q == nil {
			q = url.Values{}
		}
		for n := 0; ; {
			size := pageSize
			if limit > 0 {
				size = min(size, limit-n)
			}
			q.Set("limit", strconv.Itoa(size))
			var p page[T]
			if _, err := c.call(ctx, request{method: http.MethodGet, path: path, query: q, idempotent: true}, &p); err != nil {
				yield(zero, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
				if n++; n == limit {
					return
				}
			}
			if p.NextCursor == "" {
				return
			}
			if p.NextCursor == q.Get("cursor") {
				yield(zero, errors.New("list: the gateway answered the same cursor again"))
				return
			}
			q.Set("cursor", p.NextCursor)
		}
	}
}

func setIf(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}
