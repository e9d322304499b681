package device

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// Backoff is exponential with full jitter: before attempt n the client waits for
// a random part of Min × 2ⁿ, at most Max, plus the retry delay that the gateway
// has sent.
type Backoff struct {
	Min time.Duration // default 500 ms
	Max time.Duration // default 1 min
}

// settledAfter is how long a registration must last to reset the backoff.
const settledAfter = 30 * time.Second

func (b Backoff) wait(attempt int, retryAfter time.Duration) time.Duration {
	ceiling := cmp.Or(b.Min, 500*time.Millisecond)
	limit := max(cmp.Or(b.Max, time.Minute), 1)
	for range attempt {
		if ceiling >= limit {
			break
		}
		ceiling *= 2
	}
	return retryAfter + rand.N(max(1, min(ceiling, limit)))
}
