package disk

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// Options are the place of a store and the settings of its database.
type Options struct {
	Dir           string // the data directory
	FS            vfs.FS
	Logger        *slog.Logger
	CacheBytes    int64 // of the block cache
	MemTableBytes int   // about the size of a log file too
	// Follows says that the database follows a durable journal. The journal keeps
	// each number that was given, so that MARK bounds none.
	Follows bool
	Rows    Rows
}

// Rows are the few rows of the database that say how far it has come. Their
// owner reads and writes them.
type Rows interface {
	// Stand reads how far the state in the database has come. It changes nothing.
	Stand(db *pebble.DB) (Stand, error)
	// Raised returns the row of the state in the database, with the numbers in it
	// raised to those of to.
	Raised(db *pebble.DB, to Numbers) (key, value []byte, err error)
	// Migrate puts into b what makes the rows of an older format those of this one.
	Migrate(db *pebble.DB, b *pebble.Batch) error
	// Message returns the message whose row has this key, ok false for another row.
	Message(key []byte) (id gateway.MessageID, ok bool)
}

// Stand is how far a state has come.
type Stand struct {
	Pos   uint64 // of the last record
	At    int64  // its time, ns
	Given Numbers
}

// dirKind classifies a data directory by its files.
type dirKind uint8

const (
	dirNew      dirKind = iota // no store: neither FORMAT nor MARK nor a file in db/
	dirBegun                   // the making of a store was cut short
	dirMarkless                // a store of format 2: it has no MARK
	dirStore                   // a store with MARK
)

// Files that stand for FORMAT until a store is complete: the last step renames
// them.
const (
	nameCreating  = "CREATING"  // made by a start; another start makes the store anew
	nameRestoring = "RESTORING" // made by Restore; only Restore continues
)

// nameRepaired is in a directory from the first change of a repair until the event log has
// the event store.repaired.
const nameRepaired = "REPAIRED"

// RefusalError says why a data directory is not opened. Nothing in it was
// changed.
type RefusalError struct {
	File    string // that is not as it must be
	Found   string
	Missing string
	Remedy  string
	Cause   error // nil if there is none
}

func (e *RefusalError) Error() string {
	s := fmt.Sprintf("%s: %s; missing: %s", e.File, e.Found, e.Missing)
	if e.Cause != nil {
		s += fmt.Sprintf(" (%v)", e.Cause)
	}
	return s + ": " + e.Remedy
}

func (e *RefusalError) Unwrap() error { return e.Cause }

// repairRemedy is what to do about a store that repair can bring back, with some
// loss.
func (o *Options) repairRemedy() string {
	return fmt.Sprintf(`put the file back, restore a backup, or run "longwire store repair --data-dir %s", which says first what would be lost`, o.Dir)
}

// dbDir is where Pebble's files are.
func (o *Options) dbDir() string { return o.FS.PathJoin(o.Dir, nameDB) }

func (o *Options) path(name string) string { return o.FS.PathJoin(o.Dir, name) }

// look classifies the data directory. It refuses one that is neither a store
// nor empty, and one that lacks a file that every store has. old is the format of a
// store that is not of this one, else 0.
func look(o *Options) (kind dirKind, old uint64, err error) {
	format, err := readFormat(o)
	if err != nil {
		return 0, 0, err
	}
	if format == 0 {
		kind, err = lookUnformatted(o)
		return kind, 0, err
	}
	if format != Format {
		old = format
	}
	if format < formatWithMark {
		return dirMarkless, old, nil
	}
	ok, err := exists(o.FS, o.path(nameMark))
	if err == nil && !ok {
		err = &RefusalError{File: o.path(nameMark), Found: nameFormat + " says that this is a store", Missing: nameMark,
			Remedy: o.repairRemedy()}
	}
	return dirStore, old, err
}

// lookUnformatted is look for a directory without FORMAT.
func lookUnformatted(o *Options) (dirKind, error) {
	for _, name := range []string{nameCreating, nameRestoring} {
		ok, err := exists(o.FS, o.path(name))
		switch {
		case err != nil:
			return 0, err
		case ok && name == nameCreating:
			return dirBegun, nil
		case ok:
			return 0, &RefusalError{File: o.path(name), Found: "a restore was cut short", Missing: nameFormat,
				Remedy: fmt.Sprintf(`run "longwire store restore BACKUP --data-dir %s" again`, o.Dir)}
		}
	}
	left, err := o.FS.List(o.dbDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	marked, err := exists(o.FS, o.path(nameMark))
	if err != nil || !marked && len(left) == 0 {
		return dirNew, err
	}
	found, remedy := fmt.Sprintf("%d files in %s", len(left), o.dbDir()), o.repairRemedy()
	if marked {
		found = nameMark + " and " + found
	} else { // as a backup leaves it when it is killed
		remedy = "delete it if it is a backup that was cut short, and make another; otherwise " + remedy
	}
	return 0, &RefusalError{File: o.path(nameFormat), Found: found, Missing: nameFormat, Remedy: remedy}
}

// Format is the version of the rows.
//
//	1  before messages had an owner; never released
//	2  before the file MARK; rows as in 3
//	3  before records had a boot, bounds were a row, and events were rows
//	4  this one
//
// A start brings each from oldestFormat on up to date.
const (
	Format         = 4
	oldestFormat   = 2
	formatWithMark = 3
)

var (
	keyFormat = []byte("!format")
	keyLog    = []byte("!log")
	keyWriter = []byte("!writer") // of the records that this directory's processes make
	// keyJournal is the name of a shared journal.
	keyJournal = []byte("!journal")
)

const formatLine = "longwire store, format %d\n"

// readFormat returns what FORMAT says, 0 if there is none. It refuses the
// directory of another program or version.
func readFormat(o *Options) (uint64, error) {
	name := o.path(nameFormat)
	b, err := readSmall(o.FS, name, 256)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	var n uint64
	if _, err := fmt.Sscanf(string(b), formatLine, &n); err != nil || string(b) != fmt.Sprintf(formatLine, n) {
		return 0, &RefusalError{File: name, Found: fmt.Sprintf("%q, which does not say that this is a longwire store", b),
			Missing: fmt.Sprintf("the line "+`"longwire store, format %d"`, Format), Remedy: o.repairRemedy()}
	}
	if n < oldestFormat || n > Format {
		return 0, fmt.Errorf("%s: %w", name, foreignFormat(n))
	}
	return n, nil
}

// readSmall returns the start of a file that ought to be short.
func readSmall(fs vfs.FS, name string, most int64) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// foreignFormat says what to do with a store that another version has written.
func foreignFormat(n uint64) error {
	remedy := "use a newer program"
	if n < oldestFormat {
		remedy = "start with the version that wrote it and let its queues run empty, or take another directory"
	}
	return fmt.Errorf("the store has format %d, this program knows %d to %d: %s", n, oldestFormat, Format, remedy)
}

// writeFormat makes the directory a store of this format.
func writeFormat(o *Options) error {
	return replaceFile(o.FS, o.path(nameFormat), fmt.Appendf(nil, formatLine, Format))
}
