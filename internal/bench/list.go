package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

// Bounds of the page measurement.
const (
	pageSize = 100
	maxPages = 2000
)

// listPage is the time of one page of connected clients, asked for one after
// the other over one connection, from the first to the last and again.
func (b *bench) listPage(ctx context.Context) (reading, error) {
	g, err := b.gather(ctx)
	if err != nil {
		return reading{}, err
	}
	var times latencies
	var all []float64
	cursor := ""
	for end := time.Now().Add(b.Duration); len(all) < maxPages && (len(all) == 0 || time.Now().Before(end)); {
		start := time.Now()
		next, err := g.page(ctx, cursor)
		took := time.Since(start)
		if err != nil {
			return reading{}, err
		}
		times.observe(took)
		all = append(all, took.Seconds()*1000)
		cursor = next
	}
	return reading{
		value: median(all),
		detail: fmt.Sprintf("%d pages of %d out of %s clients, p99 %s, as the caller sees it", len(all), pageSize,
			thousands(float64(b.Clients)), brief(times.quantile(0.99))),
	}, g.crowd.check()
}

// page gets the page at cursor and returns the next one's; "" after the last.
func (t *target) page(ctx context.Context, cursor string) (next string, err error) {
	path := fmt.Sprintf("/v1/clients?limit=%d", pageSize)
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
