package engine

import (
	"fmt"
	"regexp"

	"github.com/cockroachdb/pebble/v2"
)

// walPlace finds the log file and the offset in what Pebble says of a damaged
// log.
var walPlace = regexp.MustCompile(`replaying wal (\d+), offset \(?([^\s:)]+): (\d+)\)?`)

// explain adds to an error of Open which file is damaged and what to do.
func explain(err error, o *Options) error {
	if !pebble.IsCorruptionError(err) {
		return fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	where := o.dbDir()
	if file, offset, ok := damagedLog(err); ok {
		where = fmt.Sprintf("%s, offset %d", o.FS.PathJoin(o.dbDir(), file), offset)
	}
	return fmt.Errorf("store is damaged: %s: %w (restore a backup, or start once with repair: "+
		"the damaged part goes to %s and what follows it in the log is lost)",
		where, err, o.FS.PathJoin(o.Dir, nameQuarantine))
}

// damagedLog returns the log file and the offset of its first damaged record.
func damagedLog(err error) (file string, offset int64, ok bool) {
	m := walPlace.FindStringSubmatch(fmt.Sprintf("%+v", err))
	if m == nil {
		return "", 0, false
	}
	_, scanErr := fmt.Sscan(m[3], &offset)
	return m[2], offset, scanErr == nil
}
