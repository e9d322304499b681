package guard

import (
	"sync/atomic"

	"github.com/longwire/longwire/api/internal/problem"
)

// Requests counts the requests under way, and bounds them by most.
type Requests struct {
	most            int64
	admitted        atomic.Int64
	unauthenticated atomic.Int64 // over HTTP/2
}

// NewRequests returns a bound of most admitted requests and as many unauthenticated ones.
func NewRequests(most int) *Requests { return &Requests{most: int64(most)} }

// Admit counts a request until Release. It fails when the most requests are under way: no
// request waits for room.
func (q *Requests) Admit() error {
	if q.admitted.Add(1) > q.most {
		q.admitted.Add(-1)
		return problem.New(problem.Overloaded, "%d requests are under way, which is the most this server takes", q.most)
	}
	return nil
}

// Release ends the count of an admitted request. It returns how many are still under way.
func (q *Requests) Release() (left int) { return int(q.admitted.Add(-1)) }

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
