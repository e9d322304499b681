package guard

import (
	"sync"
	"sync/atomic"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
)

// Requests counts the requests under way, and bounds them by most. Keys with one limit
// together may have as many under way as are free, and over HTTP/1, where a request has a
// connection of its own, as many as there are connections without a request: a tenant whose
// calls wait leaves room for others.
type Requests struct {
	most            int64
	connections     int64
	admitted        atomic.Int64
	connected       atomic.Int64 // admitted ones over HTTP/1
	unauthenticated atomic.Int64 // over HTTP/2

	mu      sync.Mutex
	byLimit map[apikey.Limit]underWay
}

// underWay has the admitted requests of keys with one limit.
type underWay struct{ all, connected int64 }

// NewRequests returns a bound of most admitted requests and as many unauthenticated ones,
// on so many connections.
func NewRequests(most, connections int) *Requests {
	return &Requests{most: int64(most), connections: int64(connections), byLimit: make(map[apikey.Limit]underWay)}
}

// Admit counts a request of a key with a limit until Release; connected is true over HTTP/1.
// It fails when the most requests are under way, or those of the limit have their share: no
// request waits for room.
func (q *Requests) Admit(l apikey.Limit, connected bool) error {
	if !l.None() {
		if n, ok := q.enter(l, connected); !ok {
			return problem.New(problem.RateLimited, "%d requests of keys with this limit are under way, which is their share", n)
		}
	}
	if q.admitted.Add(1) > q.most {
		q.admitted.Add(-1)
		q.leave(l, connected)
		return problem.New(problem.Overloaded, "%d requests are under way, which is the most this server takes", q.most)
	}
	if connected {
		q.connected.Add(1)
	}
	return nil
}

// enter counts a request of a limit, or returns how many are under way.
func (q *Requests) enter(l apikey.Limit, connected bool) (n int64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.byLimit[l]
	if free := q.most - q.admitted.Load(); free > 0 && u.all >= free { // if none is free, Admit refuses
		return u.all, false
	}
	if connected && u.connected >= max(1, q.connections-q.connected.Load()) {
		return u.all, false
	}
	u.all++
	if connected {
		u.connected++
	}
	q.byLimit[l] = u
	return u.all, true
}

// Release ends the count of an admitted request. It returns how many are still under way.
func (q *Requests) Release(l apikey.Limit, connected bool) (left int) {
	if connected {
		q.connected.Add(-1)
	}
	q.leave(l, connected)
	return int(q.admitted.Add(-1))
}

func (q *Requests) leave(l apikey.Limit, connected bool) {
	if l.None() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.byLimit[l]
	u.all--
	if connected {
		u.connected--
	}
	if u.all == 0 {
		delete(q.byLimit, l)
	} else {
		q.byLimit[l] = u
	}
}

// UnderWay returns how many admitted requests are under way.
func (q *Requests) UnderWay() int { return int(q.admitted.Load()) }

// CountUnauthenticated counts a request without a checked key until MarkAuthenticated. It
// reports false, and counts nothing, when the most such requests are counted.
func (q *Requests) CountUnauthenticated() bool {
	if q.unauthenticated.Add(1) > q.most {
		q.unauthenticated.Add(-1)
		return false
	}
	return true
}

// MarkAuthenticated ends the count of an unauthenticated request.
func (q *Requests) MarkAuthenticated() { q.unauthenticated.Add(-1) }
