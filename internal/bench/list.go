package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Bounds of the page measurement.
const (
	pageSize = 100
	maxPages = 2000 // of each kind
)

// listings are the kinds of list whose pages are measured.
var listings = []struct{ name, query string }{
	{"online", ""},
	{"all", "&status=all"},
	{"by prefix", "&prefix=c-0"},
	{"by a group of nobody", "&group=none"}, // looks at as many as one page may
}

// listPage is the median time of one page of clients, of the slowest kind of
// list. Pages are asked for one after the other over one connection, from the
// first on.
func (b *bench) listPage(ctx context.Context) (r reading, err error) {
	t, err := b.start(ctx, process{role: rosterServer, dir: b.newDir("roster"), clients: b.Listed})
	if err != nil {
		return r, fmt.Errorf("start a gateway with %d clients: %w", b.Listed, err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := pause(ctx, b.Duration); err != nil { // the store is still tidying up after so many new clients
		return r, err
	}
	var parts []string
	for _, l := range listings {
		times, err := t.pages(ctx, l.query, b.Duration/time.Duration(len(listings)))
		if err != nil {
			return r, err
		}
		r.value = max(r.value, times.ms(0.5))
		parts = append(parts, fmt.Sprintf("%s %s (p99 %s)", l.name, brief(times.quantile(0.5)), brief(times.quantile(0.99))))
	}
	r.detail = fmt.Sprintf("pages of %d out of %s clients without connections, as the caller sees it: %s", pageSize,
		thousands(float64(b.Listed)), strings.Join(parts, ", "))
	if rss, err := processRSS(t.pid); err == nil && rss > 0 {
		r.detail += fmt.Sprintf("; RSS %.0f MiB", mib(rss))
	}
	return r, nil
}

// pages times pages for d, one at least; after the last one comes the first.
func (t *target) pages(ctx context.Context, query string, d time.Duration) (*latencies, error) {
	var times latencies
	cursor := ""
	for end := time.Now().Add(d); times.total() == 0 || times.total() < maxPages && time.Now().Before(end); {
		start := time.Now()
		next, err := t.page(ctx, query, cursor)
		if err != nil {
			return nil, err
		}
		times.observe(time.Since(start))
		cursor = next
	}
	return &times, nil
}

// page gets the page at cursor and returns the next one's; "" after the last.
func (t *target) page(ctx context.Context, query, cursor string) (next string, err error) {
	path := fmt.Sprintf("/v1/clients?limit=%d%s", pageSize, query)
	if cursor != "" {
		path += "&cursor=" + url.QueryEscape(cursor)
	}
	body, err := t.want(ctx, 200, "GET", path, "", nil)
	if err != nil {
		return "", err
	}
	var page struct {
		NextCursor string `json:"next_cursor"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return "", fmt.Errorf("read a page of clients: %w", err)
	}
	return page.NextCursor, nil
}
