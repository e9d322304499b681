package client_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/client"
)

// answers gives each request the same answer at once.
type answers struct {
	body  string
	asked atomic.Int64
	last  func() // called for the 50th
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.asked.Add(1) == 50 {
		a.last()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// A gateway that drains answers a call that waits at once, and without uplinks.
func TestFollowingUplinksPausesIfTheGatewayDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		a := &answers{body: `{"items":[],"next_after":7,"more":false}`, last: cancel}
		c, err := client.New("http://gateway.test", client.WithHTTPClient(&http.Client{Transport: a}))
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range c.Uplinks(ctx, client.UplinkQuery{Follow: true}) {
			if ctx.Err() == nil {
				t.Fatalf("error %v before the end", err)
			}
		}
		if n := a.asked.Load(); n > 30 {
			t.Errorf("%d calls in 20 s, want a few", n)
		}
	})
}
