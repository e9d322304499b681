package api

// admit counts a request as under way until release. It fails when Config.MaxRequests are
// under way.
func (s *server) admit(x *exchange) error {
	if err := s.load.Admit(); err != nil {
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
	if s.load.Release() > 0 || !s.drain.is() {
		return
	}
	select {
	case s.drain.answered <- struct{}{}:
	default:
	}
}
