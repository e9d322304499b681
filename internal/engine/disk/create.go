package disk

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// branchGap is added to the numbers of a store that continues from a copy of
// another, or after a loss. Devices of the text dialect and saved cursors know
// numbers and no name of a log; the gap is beyond all that they can have seen.
const branchGap = 1 << 32

// eventBranchGap is the same for events: the blocks of 1,024 starts after the copy.
const eventBranchGap = eventBlock << 10

// prepare makes or judges the store and brings it up to date, so that it can be
// opened. It returns MARK and the highest numbers that were given.
func prepare(o *Options) (m Mark, given Numbers, err error) {
	kind, old, err := look(o)
	if err == nil && (kind == dirNew || kind == dirBegun) {
		err = create(o)
	}
	if err != nil {
		return m, given, err
	}
	s, m, err := Survey(o)
	if err != nil {
		return m, given, err
	}
	given = s.stand.Given
	err = s.DB.Close()
	if err == nil && old != 0 {
		err = migrate(o, s, old)
	}
	if err == nil && m.Branched {
		err = branch(o, m)
	}
	if err == nil && (old != 0 || m.Branched) {
		m, _, err = ReadMark(o.FS, o.Dir)
	}
	return m, given, err
}

// create makes a store. Each step is on stable storage before the next:
//
//	CREATING        without FORMAT: not a store yet
//	db/             an empty database with the log's name
//	MARK
//	FORMAT          CREATING, renamed
//
// When an earlier attempt was cut short, create begins anew: that attempt returned
// no store.
func create(o *Options) error {
	begun := o.path(nameCreating)
	err := replaceFile(o.FS, begun, fmt.Appendf(nil, formatLine, Format))
	if err == nil {
		err = emptyDir(o.FS, o.dbDir())
	}
	log := newLogID()
	if err == nil {
		err = makeDatabase(o, log)
	}
	if err == nil {
		err = makeMark(o.FS, o.Dir, Mark{Log: log, at: time.Now().UnixNano(), Orderly: true})
	}
	if err == nil {
		err = complete(o, begun)
	}
	if err != nil {
		return fmt.Errorf("make a store in %s: %w", o.Dir, err)
	}
	return nil
}

// complete turns CREATING or RESTORING into FORMAT.
func complete(o *Options, begun string) error {
	if err := o.FS.Rename(begun, o.path(nameFormat)); err != nil {
		return err
	}
	return syncDir(o.FS, o.Dir)
}

func makeDatabase(o *Options, log gateway.LogID) error {
	db, err := openDatabase(o.dbDir(), o, openCreate, nil)
	if err != nil {
		return err
	}
	return db.rewrite(map[string][]byte{
		string(keyFormat): binary.AppendUvarint(nil, Format),
		string(keyLog):    record.PutSum(keyLog, []byte(log)),
		string(keyWriter): newWriter(),
	})
}

// rewrite sets rows, brings everything into tables and closes the database.
func (i *Database) rewrite(rows map[string][]byte) error {
	i.fs.strict.Store(true)
	b := i.DB.NewBatch()
	defer b.Close()
	for k, v := range rows {
		_ = b.Set([]byte(k), v, nil)
	}
	err := b.Commit(pebble.Sync)
	return errors.Join(err, i.fs.Err(), i.DB.Flush(), i.fs.Err(), i.DB.Close())
}

// migrate brings the files of an older store up to date; OpenLog does so with its rows.
// Both may be done again when they were cut short: FORMAT and the database are read in
// the older form and in this one.
//
// A store of format 2 has no MARK. The new one has no position yet, because records of a
// killed process may not be on stable storage. Numbers skip a block, as after any kill.
func migrate(o *Options, s *found, from uint64) error {
	var err error
	if from < formatWithMark {
		err = makeMark(o.FS, o.Dir, Mark{Log: s.Log, at: time.Now().UnixNano(), Reserved: plus(s.stand.Given, reserveBlock)})
	}
	if err == nil {
		err = writeFormat(o)
	}
	if err != nil {
		return fmt.Errorf("bring the store in %s up to format %d: %w", o.Dir, Format, err)
	}
	o.Logger.Info("store brought up to date", "dir", o.Dir, "from", from, "to", Format)
	return nil
}

// branch gives the log of a store that continues from a copy a new name, and
// raises the numbers. Records of the old log's writers can then not be taken for
// records of the new one's, and no device takes a new number for an old one. When
// it is cut short it is done again, with other numbers.
func branch(o *Options, m Mark) error {
	db, err := openDatabase(o.dbDir(), o, openWrite, nil)
	if err != nil {
		return err
	}
	_, before, err := db.readMeta()
	var s Stand
	if err == nil {
		s, err = o.Rows.Stand(db.DB)
	}
	log := newLogID()
	m.Reserved = plus(s.Given.Raise(m.Reserved), branchGap)
	m.Reserved.Event += eventBranchGap
	var key, row []byte
	if err == nil {
		key, row, err = o.Rows.Raised(db.DB, m.Reserved)
	}
	if err != nil {
		db.Seal(err)
		return errors.Join(err, db.DB.Close())
	}
	err = db.rewrite(map[string][]byte{
		string(keyLog): record.PutSum(keyLog, []byte(log)),
		string(key):    row,
	})
	if err == nil {
		err = makeMark(o.FS, o.Dir, Mark{gen: m.gen, Log: log, Pos: s.Pos, at: time.Now().UnixNano(), Reserved: m.Reserved, Orderly: true})
	}
	if err != nil {
		return fmt.Errorf("give the log of %s a new name: %w", o.Dir, err)
	}
	o.Logger.Info("the store continues from a copy: its log has a new name", "log", log, "before", before)
	return nil
}

// readMeta returns the version of the layout and the log's name.
func (i *Database) readMeta() (format uint64, log gateway.LogID, err error) {
	v, err := i.row(keyFormat)
	if err != nil {
		return 0, "", err
	}
	n, _ := binary.Uvarint(v)
	if n < oldestFormat || n > Format {
		return n, "", foreignFormat(n)
	}
	if v, err = i.row(keyLog); err == nil {
		v, err = record.CheckSum(keyLog, v)
	}
	return n, gateway.LogID(v), err
}

// row returns a copy of a row that every store has.
func (i *Database) row(key []byte) ([]byte, error) {
	v, closer, err := i.DB.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, &record.CorruptError{Key: key, Cause: record.ErrMissing}
	}
	if err != nil {
		return nil, fmt.Errorf("read row %q: %w", key, err)
	}
	return bytes.Clone(v), closer.Close()
}

// OpenLog returns the log's name and the writer's id, and brings rows of an older format
// up to date in one batch.
func (i *Database) OpenLog(rows Rows) (log gateway.LogID, writer uint64, err error) {
	n, log, err := i.readMeta()
	if err == nil && n != Format {
		err = i.migrateRows(rows)
	}
	if err != nil {
		return "", 0, err
	}
	v, err := i.row(keyWriter)
	if err == nil {
		v, err = record.CheckSum(keyWriter, v)
	}
	if err == nil && len(v) != 8 {
		err = &record.CorruptError{Key: keyWriter, Cause: record.ErrShort}
	}
	if err != nil {
		return "", 0, err
	}
	return log, binary.BigEndian.Uint64(v), nil
}

// Journal returns the name of the shared journal whose records are in the database, ""
// if there is none.
func (i *Database) Journal() (string, error) {
	v, err := i.row(keyJournal)
	if errors.Is(err, record.ErrMissing) {
		return "", nil
	}
	if err == nil {
		v, err = record.CheckSum(keyJournal, v)
	}
	return string(v), err
}

// SetJournal names the shared journal that the database follows from now on.
func (i *Database) SetJournal(name string) error {
	return i.DB.Set(keyJournal, record.PutSum(keyJournal, []byte(name)), pebble.Sync)
}

func (i *Database) migrateRows(rows Rows) error {
	b := i.DB.NewBatch()
	defer b.Close()
	err := rows.Migrate(i.DB, b)
	if err != nil {
		return err
	}
	_ = b.Set(keyWriter, newWriter(), nil)
	_ = b.Set(keyFormat, binary.AppendUvarint(nil, Format), nil)
	return b.Commit(pebble.Sync)
}

// newWriter returns the row of a new writer.
func newWriter() []byte {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // it never fails
	return record.PutSum(keyWriter, id)
}

func newLogID() gateway.LogID { return gateway.LogID("log_" + rand.Text()[:16]) }
