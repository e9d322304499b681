package journal

// Local is the journal of one node: Pebble's write-ahead log, in which
// the state's batch is at once the record. It counts positions.
type Local struct{ pos uint64 }

// Resume sets the position of the last record, before the first Append.
func (j *Local) Resume(pos uint64) { j.pos = pos }

// Append gives the next position.
func (j *Local) Append([]byte) (uint64, error) {
	j.pos++
	return j.pos, nil
}

// Replay has no records: the state has them all.
func (j *Local) Replay(uint64, func(uint64, []byte) error) error { return nil }

// Trim has nothing to drop.
func (j *Local) Trim(uint64) error { return nil }

// Durable is false: the state's batch is synced.
func (j *Local) Durable() bool { return false }
