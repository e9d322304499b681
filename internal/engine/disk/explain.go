package disk

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/internal/engine/record"
)

// walPlace finds the log file and the offset in what Pebble says of a damaged
// log.
var walPlace = regexp.MustCompile(`replaying wal \d+, offset \(?([^\s:)]+): (\d+)\)?`)

// IsDamage reports whether an error says that stored data differs from the data
// written, or that a file of the store is missing.
func IsDamage(err error) bool {
	_, damaged := errors.AsType[*DamageError](err)
	_, refused := errors.AsType[*RefusalError](err)
	_, corrupt := errors.AsType[*record.CorruptError](err)
	return damaged || refused || corrupt || pebble.IsCorruptionError(err)
}

// Explain adds to an error of Open which file is damaged and what to do.
func Explain(err error, o *Options) error {
	if r, ok := errors.AsType[*RefusalError](err); ok {
		return fmt.Errorf("the store in %s is not whole, and nothing in it was changed: %w", o.Dir, r)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("open store %s: %w: make some room on its disk (\"longwire store backup\" and \"longwire store verify\" need none there)", o.Dir, err)
	}
	if !IsDamage(err) {
		return fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	where := o.dbDir()
	if d, ok := damagedLog(err, o); ok {
		where = fmt.Sprintf("%s, offset %d", d.File, d.Offset)
	}
	return fmt.Errorf("store is damaged: %s: %w (restore a backup, or run \"longwire store repair --data-dir %s\", "+
		"which says first what would be lost; the damaged part goes to %s)",
		where, err, o.Dir, o.path(nameQuarantine))
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
