package client

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/url"
	"strconv"
	"time"
)

// pageSize is how many items one request of a list asks for.
const pageSize = 500

// idlePause is the pause after a call that should have waited for news, and was answered at
// once without any.
const idlePause = time.Second

// page is one answer of a list. The call next returns its items, reports whether there
// is another page, and makes q, the query of this one, the query of that one.
type page[T any] interface {
	next(q url.Values) (items []T, more bool, err error)
}

// walk reads the pages P of a list and yields their items, at most limit of them
// (0 = all). An error is the last value it yields. A second range starts from the
// beginning.
func walk[T, P any, PP interface {
	*P
	page[T]
}](ctx context.Context, c *Client, r request, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		r := r
		r.query = maps.Clone(r.query)
		for n, more := 0, true; more; {
			size := pageSize
			if limit > 0 {
				size = min(size, limit-n)
			}
			r.query.Set("limit", strconv.Itoa(size))
			began := time.Now()
			p, err := readPage[P](ctx, c, r)
			if err != nil {
				yield(zero, err)
				return
			}
			var items []T
			items, more, err = PP(p).next(r.query)
			switch {
			case items == nil:
				err = errNoList
			case r.follow && len(items) == 0 && time.Since(began) < idlePause: // a gateway that drains does not wait
				err = sleep(ctx, idlePause)
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
				if n++; n == limit {
					return
				}
			}
			if err != nil {
				yield(zero, err)
				return
			}
		}
	}
}

// readPage reads one page of a list.
func readPage[P any](ctx context.Context, c *Client, r request) (p *P, err error) {
	if !r.follow {
		return ask[P](ctx, c, r)
	}
	err = c.goOn(ctx, r.reconnecting, new(time.Duration), func(ctx context.Context) (bool, error) {
		var err error
		if p, err = ask[P](ctx, c, r); err == nil {
			err = errStopped
		}
		return false, err
	})
	return p, err
}

// cursorPage is a page of a list with a cursor.
type cursorPage[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}

func (p *cursorPage[T]) next(q url.Values) (items []T, more bool, err error) {
	if p.NextCursor != "" && p.NextCursor == q.Get("cursor") {
		err = errors.New("list: the gateway answered the same cursor again")
	}
	q.Set("cursor", p.NextCursor)
	return p.Items, p.NextCursor != "", err
}

// pages walks a list with a cursor.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) iter.Seq2[T, error] {
	return walk[T, cursorPage[T]](ctx, c, get(path, query), limit)
}

func setTime(v url.Values, key string, t time.Time) {
	if !t.IsZero() {
		v.Set(key, t.UTC().Format(time.RFC3339Nano))
	}
}

func setIf(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}
