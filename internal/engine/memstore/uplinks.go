package memstore

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// uplinkRing has the newest uplinks within two bounds.
type uplinkRing struct {
	last  uint64 // sequence of the newest, stored or not
	kept  []gateway.Uplink
	bytes int64
	due   *deadline // when the oldest is to be dropped; nil if there is none
}

func (r *uplinkRing) dropOldest() {
	r.bytes -= int64(len(r.kept[0].Payload))
	r.kept = cut(r.kept, 0)
}

// AppendUplink stores a payload from a device. Beyond the bounds it drops the
// oldest uplinks.
func (s *Store) AppendUplink(ctx context.Context, u gateway.Uplink) (uint64, error) {
	if err := s.enterWithRoom(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	s.events++
	r := &s.uplinks
	r.last++
	u.Seq, u.Payload = r.last, bytes.Clone(u.Payload)
	r.kept = append(r.kept, u)
	told := u
	told.OmitLarge()
	s.logLocked(gateway.Event{Type: gateway.EventMessageReceived, At: u.At, Client: u.Client, Session: u.Session, Uplink: &told})
	s.noteLocked(&gateway.Uplinked{Uplink: u})
	r.bytes += int64(len(u.Payload))
	for len(r.kept) > 0 && (len(r.kept) > s.opt.MaxUplinks || r.bytes > s.opt.MaxUplinkBytes) {
		r.dropOldest()
	}
	if len(r.kept) == 1 {
		s.watchUplinksLocked(s.opt.Now())
	}
	return u.Seq, nil
}

// watchUplinksLocked drops uplinks at the end of their retention and schedules
// itself for the oldest one left.
func (s *Store) watchUplinksLocked(now time.Time) {
	r := &s.uplinks
	old, next := 0, -1
	for i := range r.kept {
		at := r.kept[i].At
		if at.After(now) {
			continue // of a clock that was ahead: it is dropped with later ones
		}
		if at.Add(s.opt.UplinkRetention).After(now) {
			next = i
			break
		}
		old = i + 1
	}
	for range old {
		r.dropOldest()
	}
	s.unscheduleLocked(r.due)
	r.due = nil
	switch {
	case next >= 0:
		r.due = s.scheduleLocked(r.kept[next-old].At.Add(s.opt.UplinkRetention), s.watchUplinksLocked)
	case len(r.kept) > 0:
		r.due = s.scheduleLocked(now.Add(s.opt.UplinkRetention), s.watchUplinksLocked)
	}
}

// Uplinks returns stored uplinks of a client, or of all if client is "", oldest
// first.
func (s *Store) Uplinks(client gateway.ClientID, after uint64, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.uplinks.kept
	return uplinkPage(slices.Values(kept[behind(kept, after, byUplink):]), client, limit), nil
}

// UplinksBefore returns those with a sequence below before, newest first; 0 is the end.
func (s *Store) UplinksBefore(client gateway.ClientID, before uint64, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.uplinks.kept
	if before != 0 {
		end, _ := slices.BinarySearchFunc(kept, before, byUplink)
		kept = kept[:end]
	}
	return uplinkPage(func(yield func(gateway.Uplink) bool) {
		for _, u := range slices.Backward(kept) {
			if !yield(u) {
				return
			}
		}
	}, client, limit), nil
}

func byUplink(u gateway.Uplink, seq uint64) int { return cmp.Compare(u.Seq, seq) }

func uplinkPage(uplinks iter.Seq[gateway.Uplink], client gateway.ClientID, limit int) gateway.Page[gateway.Uplink, uint64] {
	p := newPage[gateway.Uplink, uint64](limit)
	for u := range uplinks {
		if !p.next(u.Seq) {
			break
		}
		if client == "" || u.Client == client {
			p.add(u)
		}
	}
	return p.Page
}

// LastUplink returns the last sequence that an uplink was given; 0 for none.
func (s *Store) LastUplink() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uplinks.last, nil
}
