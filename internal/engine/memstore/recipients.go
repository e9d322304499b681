package memstore

import "github.com/longwire/longwire/gateway"

// Recipients returns the audience that Accept would fix now.
func (s *Store) Recipients(a gateway.Acceptance) (r gateway.Recipients, err error) {
	audience, err := s.audience(a)
	if err != nil {
		return r, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return r, err
	}
	if err := s.admitLocked(a); err != nil {
		return r, err
	}
	added := int64(0) // clients that the message would make known
	for _, id := range audience {
		r.Total++
		c := s.clients[id]
		refused := c == nil || c.Queued >= s.opt.QueueLen
		if c == nil && a.QueueUnknown && gateway.TooManyClients(a.Account, s.accounts[a.Account]+added, int64(len(s.clients))+added, s.opt.MaxClients) == nil {
			refused = false
			added++
		}
		if refused {
			r.Failed++
		} else if len(r.Sample) < gateway.RecipientSample {
			r.Sample = append(r.Sample, id)
		}
	}
	return r, a.TooMany(r.Total)
}
