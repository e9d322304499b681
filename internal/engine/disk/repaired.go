package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Repaired is the content of the file REPAIRED. The next start makes an event of it.
type Repaired struct {
	At     time.Time `json:"at"`
	Damage string    `json:"damage"` // a kind of damage
	After  uint64    `json:"after"`  // the last event that is kept
	Since  time.Time `json:"since"`  // the time of the last record that is kept
	// Pos is the position of the record with the event, 0 before a start has chosen it. The
	// start writes it here before it writes that record.
	Pos uint64 `json:"pos,omitempty"`
}

// put writes the file. If an earlier repair has left one, its content stays: that event is
// still due, and the present loss is behind the earlier one.
func (r Repaired) put(o *Options) error {
	before, err := ReadRepaired(o)
	if err != nil {
		return err
	}
	if before != nil {
		r = *before
		r.Pos = 0
	}
	return WriteRepaired(o, &r)
}

// ReadRepaired returns nil if there is no such file. A file that cannot be decoded counts as
// a repair without known facts.
func ReadRepaired(o *Options) (*Repaired, error) {
	b, err := readAll(o.FS, o.path(nameRepaired))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.path(nameRepaired), err)
	}
	r := &Repaired{}
	if json.Unmarshal(b, r) != nil {
		r = &Repaired{At: time.Now(), Damage: gateway.DamageLog}
	}
	return r, nil
}

// WriteRepaired replaces the file.
func WriteRepaired(o *Options, r *Repaired) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replaceFile(o.FS, o.path(nameRepaired), b)
}

// RemoveRepaired removes the file, durably.
func RemoveRepaired(o *Options) error {
	if err := ignoreMissing(o.FS.Remove(o.path(nameRepaired))); err != nil {
		return err
	}
	return syncDir(o.FS, o.Dir)
}
