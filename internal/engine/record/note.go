package record

import "github.com/longwire/longwire/gateway"

// Note puts an event into the event log that no change of rows makes.
type Note struct{ Event gateway.Event }

func (e *Note) Kind() Kind { return KindNote }
func (e *Note) Size() int  { return 208 + len(e.Event.Result) + len(e.Event.Detail) }

func (e *Note) encode(b []byte) []byte { return PutNote(b, e) }

// PutNote appends an event as a record and a row have it.
func PutNote(b []byte, e *Note) []byte {
	v := &e.Event
	b = PutID(PutString(PutString(b, v.Type), v.Client), v.Message)
	b = PutUint(PutString(append(b, byte(v.State)), v.Reason), uint64(v.Attempts))
	b = PutString(PutBytes(PutTime(b, v.At), v.Result), v.Detail)
	if r := v.Repair; r != nil {
		b = PutTime(PutUint(b, r.After), r.Since)
	}
	return b
}

// DecodeNote is the reverse of PutNote.
func DecodeNote(d *Decoder) *Note {
	e := new(Note)
	v := &e.Event
	v.Type, v.Client, v.Message = gateway.EventType(d.Text()), gateway.ClientID(d.Text()), d.ID()
	v.State, v.Reason, v.Attempts = gateway.State(d.Byte()), d.Text(), d.Int()
	v.At, v.Result, v.Detail = d.Time(), d.Bytes(), d.Text()
	if len(d.Rest) > 0 { // most end here
		v.Repair = &gateway.StoreRepair{After: d.Uint(), Since: d.Time()}
	}
	return e
}

// Put writes entries of the gateway's own, which the state does not interpret.
type Put struct{ Entries []gateway.Entry }

func (e *Put) Kind() Kind { return KindPut }

func (e *Put) Size() int {
	n := 32
	for i := range e.Entries {
		n += 16 + len(e.Entries[i].Key) + len(e.Entries[i].Value)
	}
	return n
}

func (e *Put) encode(b []byte) []byte {
	b = PutUint(b, uint64(len(e.Entries)))
	for i := range e.Entries {
		v := &e.Entries[i]
		b = PutBytes(PutBool(PutString(b, v.Key), v.Value != nil), v.Value)
	}
	return b
}

func decodePut(d *Decoder) *Put {
	e := &Put{Entries: make([]gateway.Entry, d.Count(3))}
	for i := range e.Entries {
		key, kept, value := d.Text(), d.Bool(), d.Bytes()
		if kept && value == nil {
			value = []byte{}
		}
		e.Entries[i] = gateway.Entry{Key: key, Value: value}
	}
	return e
}
