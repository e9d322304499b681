package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Refused returns why the program would not open the directory, as far as its small files
// say so. It takes no lock and changes nothing.
func Refused(o *Options) error {
	kind, _, err := look(o)
	if err != nil || kind != dirStore {
		return err
	}
	if _, err := markOf(o); err != nil {
		return err
	}
	if _, err = findManifest(o); err != nil {
		_, err = findManifest(o) // a process may have replaced it during the first look
	}
	return err
}

// markOf returns what MARK says.
func markOf(o *Options) (Mark, error) {
	m, _, err := ReadMark(o.FS, o.Dir)
	if errors.Is(err, errNoMark) {
		err = &RefusalError{File: o.path(nameMark), Found: "neither of its slots can be read", Missing: "what MARK says",
			Remedy: o.repairRemedy(), Cause: err}
	}
	return m, err
}

// IsStore returns an error unless the directory has a store, or remains of one.
func IsStore(o *Options) error {
	kind, _, err := look(o)
	if err == nil && (kind == dirNew || kind == dirBegun) {
		err = fmt.Errorf("no store in %s: %w", o.Dir, os.ErrNotExist)
	}
	if _, refused := errors.AsType[*RefusalError](err); refused {
		return nil // there is a store to look at
	}
	return err
}

// found is a store whose database is open for reading.
type found struct {
	*Database
	Log   gateway.LogID
	stand Stand
}

// SurveyStored is Survey of a store that no process has open, and explains its error. No
// other process opens the store until the caller closes lock.
func SurveyStored(o *Options) (s *found, lock io.Closer, err error) {
	if err := IsStore(o); err != nil {
		return nil, nil, err
	}
	if lock, err = lockToRead(o); err != nil {
		return nil, nil, err
	}
	if s, _, err = Survey(o); err != nil {
		err = Explain(err, o)
		_ = lock.Close()
		return nil, nil, err
	}
	return s, lock, nil
}

// Survey is the one judge of a directory that has a store: a start, Verify,
// Restore and Repair all ask it. It changes nothing. It returns the store, open
// for reading, and what MARK says; a store of the old format has no mark.
//
// A refusal is a *RefusalError, *DamageError or *CorruptError, or Pebble's.
func Survey(o *Options) (*found, Mark, error) {
	var m Mark
	kind, _, err := look(o)
	if err != nil {
		return nil, m, err
	}
	if kind == dirStore {
		if m, err = markOf(o); err != nil {
			return nil, m, err
		}
	}
	s, err := surveyDatabase(o, &m)
	if err != nil {
		return nil, m, err
	}
	if kind == dirStore {
		err = s.compare(o, &m)
	}
	if err != nil {
		return nil, m, errors.Join(err, s.DB.Close())
	}
	return s, m, nil
}

// surveyDatabase opens the database for reading, if its logs have all that m
// lists.
func surveyDatabase(o *Options, m *Mark) (*found, error) {
	if err := checkFiles(o, m); err != nil {
		return nil, err
	}
	db, err := openDatabase(o.dbDir(), o, openRead, nil)
	if m := missingTable.FindStringSubmatch(fmt.Sprint(err)); m != nil {
		err = &RefusalError{File: o.FS.PathJoin(o.dbDir(), m[1]+m[2]+".sst"), Found: "the file is not as the manifest names it",
			Missing: "the file with its size", Remedy: "put it back, or restore a backup", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	s := &found{Database: db}
	if _, s.Log, err = db.readMeta(); err == nil {
		s.stand, err = o.Rows.Stand(db.DB)
	}
	if err != nil {
		return nil, errors.Join(err, db.DB.Close())
	}
	return s, nil
}

// missingTable finds the number of a table in the errors by which Pebble says that
// it is not there, or not with the size that the manifest names.
var missingTable = regexp.MustCompile(`(\d+): object size mismatch|file (\d+) \(type sstable\) unknown`)

// checkFiles looks for what Pebble would not miss: a marker of the manifest, and
// the end of the manifest or of a log.
func checkFiles(o *Options, m *Mark) error {
	manifest, err := findManifest(o)
	if err != nil {
		return err
	}
	if manifestNumber(manifest) == m.manifest.number {
		info, err := o.FS.Stat(manifest)
		if err != nil {
			return err
		}
		if info.Size() < m.manifest.synced {
			return &RefusalError{File: manifest, Found: fmt.Sprintf("the manifest has %d bytes", info.Size()),
				Missing: fmt.Sprintf("its end: MARK says that %d bytes were synced", m.manifest.synced), Remedy: "restore a backup"}
		}
	}
	oldest, err := oldestLog(o.FS, manifest)
	if err != nil {
		return err
	}
	return checkLogs(o, oldest, m.Logs)
}

// compare refuses a database that is not the one of MARK, or is behind it.
func (s *found) compare(o *Options, m *Mark) error {
	pos, given := s.stand.Pos, s.stand.Given
	refuse := func(missing, format string, args ...any) error {
		return &RefusalError{File: o.dbDir(), Found: fmt.Sprintf(format, args...), Missing: missing, Remedy: o.repairRemedy()}
	}
	switch {
	case m.Branched: // the log may have its new name already
	case s.Log != m.Log:
		return refuse("the database of this MARK", "the database has the log %s, MARK has %s", s.Log, m.Log)
	case !o.Follows && (given.Seq > m.Reserved.Seq || given.Useq > m.Reserved.Useq):
		return refuse("a MARK of this time", "the database has given the message number %d and the uplink number %d, MARK reserves them up to %d and %d: MARK is older than the database",
			given.Seq, given.Useq, m.Reserved.Seq, m.Reserved.Useq)
	}
	if pos < m.Pos {
		return refuse(fmt.Sprintf("%d records at least", m.Pos-pos), "the database ends with record %d, MARK says that record %d was synced at %s",
			pos, m.Pos, record.TimeOf(m.at).Format("2006-01-02 15:04:05"))
	}
	return nil
}
