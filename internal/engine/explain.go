package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/cockroachdb/pebble/v2"
)

// walPlace finds the log file and the offset in what Pebble says of a damaged
// log.
var walPlace = regexp.MustCompile(`replaying wal \d+, offset \(?([^\s:)]+): (\d+)\)?`)

// isDamage reports whether an error says that stored data is not what was
// written.
func isDamage(err error) bool {
	_, ok := errors.AsType[*DamageError](err)
	return ok || pebble.IsCorruptionError(err)
}

// explain adds to an error of Open which file is damaged and what to do.
func explain(err error, o *Options) error {
	if !isDamage(err) {
		return fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	where := o.dbDir()
	if d, ok := damagedLog(err, o); ok {
		where = fmt.Sprintf("%s, offset %d", d.File, d.Offset)
	}
	return fmt.Errorf("store is damaged: %s: %w (restore a backup, or run \"longwire store repair --data-dir %s\": "+
		"the damaged part goes to %s and what follows it in the log is lost)",
		where, err, o.Dir, o.FS.PathJoin(o.Dir, nameQuarantine))
}

// damagedLog returns the log file and the offset of its first damaged record.
func damagedLog(err error, o *Options) (*DamageError, bool) {
	if d, ok := errors.AsType[*DamageError](err); ok {
		return d, true
	}
	m := walPlace.FindStringSubmatch(fmt.Sprintf("%+v", err))
	if m == nil {
		return nil, false
	}
	d := &DamageError{File: o.FS.PathJoin(o.dbDir(), filepath.Base(m[1]))}
	_, scanErr := fmt.Sscan(m[2], &d.Offset)
	return d, scanErr == nil
}
