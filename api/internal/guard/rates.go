package guard

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
)

// Callers has the request rate and the streams of each key. An open API has one
// caller.
type Callers struct {
	rate  rate.Limit // requests per second; 0 = no bound
	burst int
	mu    sync.Mutex
	byKey map[string]*caller // idle ones are forgotten, see maxCallers
}

// NewCallers returns callers that may each send perSecond requests a second, with bursts
// of burst.
func NewCallers(perSecond float64, burst int) *Callers {
	return &Callers{rate: rate.Limit(perSecond), burst: burst, byKey: make(map[string]*caller)}
}

type caller struct {
	bucket  *rate.Limiter
	streams int
}

// maxCallers is the number of callers at which idle ones are forgotten.
const maxCallers = 2 * apikey.MaxKeys

// ofLocked returns a caller.
func (c *Callers) ofLocked(id string) *caller {
	if known := c.byKey[id]; known != nil {
		return known
	}
	if len(c.byKey) >= maxCallers {
		c.forgetLocked()
	}
	fresh := &caller{bucket: rate.NewLimiter(c.rate, c.burst)}
	c.byKey[id] = fresh
	return fresh
}

// forgetLocked drops callers that have no stream and a full bucket: a new caller
// is the same.
func (c *Callers) forgetLocked() {
	for id, known := range c.byKey {
		if known.streams == 0 && known.bucket.Tokens() >= float64(c.burst) {
			delete(c.byKey, id)
		}
	}
}

// Spend takes one request off a key's rate and sets the header to the requests that
// remain (draft-ietf-httpapi-ratelimit-headers-10).
func (c *Callers) Spend(h http.Header, id string, now time.Time) error {
	if c.rate <= 0 {
		return nil
	}
	c.mu.Lock()
	bucket := c.ofLocked(id).bucket
	c.mu.Unlock()
	ok := bucket.AllowN(now, 1)
	left := max(bucket.TokensAt(now), 0)
	refill := int(math.Ceil((float64(c.burst) - left) / float64(c.rate)))
	h["Ratelimit-Policy"] = []string{fmt.Sprintf(`"key";q=%d;w=%d`, c.burst, int(math.Ceil(float64(c.burst)/float64(c.rate))))}
	h["Ratelimit"] = []string{fmt.Sprintf(`"key";r=%d;t=%d`, int(left), refill)}
	if ok {
		return nil
	}
	p := problem.New(problem.RateLimited, "the API key may send %v requests a second", float64(c.rate))
	p.RetryAfter = time.Duration((1 - left) / float64(c.rate) * float64(time.Second))
	return p
}

// Pace waits until a key may send one more line of a bulk request, which counts
// like a request. hurry is called before a wait.
func (c *Callers) Pace(ctx context.Context, id string, now func() time.Time, hurry func()) error {
	if c.rate <= 0 {
		return nil
	}
	c.mu.Lock()
	bucket := c.ofLocked(id).bucket
	c.mu.Unlock()
	if bucket.AllowN(now(), 1) {
		return nil
	}
	hurry()
	return bucket.Wait(ctx)
}

// Enter counts an event stream of a key; false when it has max of them.
func (c *Callers) Enter(id string, max int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.ofLocked(id)
	if known.streams >= max {
		return false
	}
	known.streams++
	return true
}

// Exit ends the count of a stream.
func (c *Callers) Exit(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byKey[id].streams--
}
