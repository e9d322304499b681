package state

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Recipients returns the audience that the machine would fix for a now, with the bounds b.
func (v *View) Recipients(a *gateway.Acceptance, b *record.Bounds) (gateway.Recipients, error) {
	switch {
	case a.To.Client != "":
		return v.oneRecipient(a, b)
	case len(a.To.Clients) > 0:
		return v.namedRecipients(a, b)
	}
	return v.selectedRecipients(a)
}

func (v *View) oneRecipient(a *gateway.Acceptance, b *record.Bounds) (r gateway.Recipients, err error) {
	id := a.To.Client
	queue, known, err := v.queueOf(id)
	switch {
	case err != nil:
		return r, err
	case !known && !a.QueueUnknown:
		return r, unknownClient(id)
	case !known:
		if err := v.roomFor(a.Account, 0, b); err != nil {
			return r, err
		}
	}
	if err := queue.refusal(id, int64(len(a.Payload)), b); err != nil {
		return r, err
	}
	return gateway.Recipients{Total: 1, Sample: []gateway.ClientID{id}}, nil
}

// queueOf returns how much is queued for a client alone, known false for an unknown one.
func (v *View) queueOf(id gateway.ClientID) (queue countRow, known bool, err error) {
	row, known, err := v.clientRow(id)
	if known {
		queue, err = v.alone(row.ord)
	}
	return queue, known, err
}

// roomFor returns the refusal of one more client of an account, after added ones that the
// view does not have.
func (v *View) roomFor(name string, added int64, b *record.Bounds) error {
	var own accountRow
	var err error
	if name != "" {
		if own, err = rowOrZero(v, accountKey(name), decodeAccount); err != nil {
			return err
		}
	}
	return gateway.TooManyClients(name, own.clients+added, v.State.Clients+added, b.MaxClients)
}

func (v *View) namedRecipients(a *gateway.Acceptance, b *record.Bounds) (r gateway.Recipients, err error) {
	added := int64(0) // clients that the message would make known
	for _, id := range sortedSet(a.To.Clients) {
		queue, known, err := v.queueOf(id)
		if err != nil {
			return r, err
		}
		refused := !known
		if !known && a.QueueUnknown {
			err := v.roomFor(a.Account, added, b)
			if refused = err != nil; refused && gateway.CodeOf(err) != gateway.CodeTooManyClients {
				return r, err
			} else if !refused {
				added++
			}
		}
		r.Total++
		if refused || queue.n >= b.MaxQueued {
			r.Failed++
		} else if len(r.Sample) < gateway.RecipientSample {
			r.Sample = append(r.Sample, id)
		}
	}
	return r, a.TooMany(r.Total)
}

func (v *View) selectedRecipients(a *gateway.Acceptance) (r gateway.Recipients, err error) {
	var audience record.Bitmap
	if a.Among != nil || a.Only != nil {
		audience, err = v.Mask(a)
	} else {
		audience, err = v.State.audience(&a.To, nil, v.chunk)
	}
	if err != nil {
		return r, err
	}
	r.Total = audience.Count()
	full, err := v.fullAmong(audience)
	if err != nil {
		return r, err
	}
	r.Failed = len(full)
	for o := range audience.Each() {
		if len(r.Sample) == gateway.RecipientSample {
			break
		}
		if full[o] {
			continue
		}
		id, err := v.nameOf(o)
		if err != nil {
			return r, err
		}
		r.Sample = append(r.Sample, id)
	}
	return r, a.TooMany(r.Total)
}

// fullAmong returns the clients of an audience whose queues have no room.
func (v *View) fullAmong(audience record.Bitmap) (map[record.Ordinal]bool, error) {
	full := map[record.Ordinal]bool{}
	err := v.each([]byte{kindFull}, []byte{kindFull + 1}, false, func(k, _ []byte) (bool, error) {
		o := record.Ordinal(tail32(k))
		if set := audience[record.ChunkOf(o)]; set != nil && set.Has(o) {
			full[o] = true
		}
		return true, nil
	})
	return full, err
}
