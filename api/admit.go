package api

import "net/http"

// admit counts a request as under way until release. It fails when Config.MaxRequests are
// under way, or the share of the caller's limit.
func (s *server) admit(x *exchange, r *http.Request) error {
	x.connected = r.ProtoMajor < 2
	if err := s.load.Admit(x.view.Key().Limit, x.connected); err != nil {
		return err
	}
	x.admitted = true
	return nil
}

// release ends the count of an admitted request when it is answered, and gives the
// memory of its body back.
func (s *server) release(x *exchange) {
	if !x.admitted {
		return
	}
	x.admitted = false
	s.bodies.Give(x.principal, x.bodySize)
	x.bodySize = 0
	if s.load.Release(x.view.Key().Limit, x.connected) > 0 || !s.drain.is() {
		return
	}
	select {
	case s.drain.answered <- struct{}{}:
	default:
	}
}
