package disk

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Loss describes the records that a repair gives up, as far as they are known.
type Loss struct {
	Cause error // why the store is not opened
	// Records is how many records are lost at least; -1 if that is not known.
	Records int64
	// After and Before are between which times the lost records were written;
	// Before is zero if it is not known.
	After, Before time.Time
	// Messages are accepted messages in lost records that can still be read, at
	// most maxLostIDs.
	Messages []gateway.MessageID
	// Files are what goes into the quarantine directory, or is made anew.
	Files []string
}

const maxLostIDs = 1000

// Repair makes a store that Survey refuses one that it accepts, as far as it can: see
// engine.Repair. A start then gives the log its new name. It returns nil for a store
// that is whole. After a kill at any moment it can be run again: MARK says that the
// store is branched before the first file of the database changes.
func Repair(o *Options, accept func(*Loss) error) (*Loss, error) {
	lock, err := lockDir(o)
	if err != nil {
		return nil, err
	}
	loss, err := repairLocked(o, accept)
	return loss, errors.Join(err, lock.Close())
}

func repairLocked(o *Options, accept func(*Loss) error) (*Loss, error) {
	s, m, cause := Survey(o)
	if cause == nil {
		return nil, s.DB.Close()
	}
	if half, err := exists(o.FS, o.path(nameRestoring)); err != nil || half {
		return nil, errors.Join(cause, err)
	}
	p := repairPlan{o: o, loss: &Loss{Cause: Explain(cause, o), Records: -1}}
	if err := p.make(m, cause); err != nil {
		return nil, err
	}
	if err := accept(p.loss); err != nil {
		return nil, err
	}
	return p.loss, p.carryOut()
}

// repairPlan is one repair.
type repairPlan struct {
	o    *Options
	loss *Loss
	mark Mark
	cut  *DamageError // of the log that is cut, nil for none
	gone []string     // logs behind it, from the newest to the oldest
	told Repaired
}

// make decides on the steps, and changes nothing.
func (p *repairPlan) make(m Mark, cause error) error {
	o := p.o
	if _, err := findManifest(o); err != nil {
		return err
	}
	if m.gen == 0 {
		m, _, _ = ReadMark(o.FS, o.Dir) // survey may not have come that far
	}
	d, damaged := damagedLog(cause, o)
	if _, refused := errors.AsType[*RefusalError](cause); !damaged && !refused {
		return fmt.Errorf("cannot be repaired, restore a backup: %w", cause)
	}
	var s *found
	var err error
	if !damaged {
		s, err = surveyDatabase(o, &m)
		d, damaged = damagedLog(err, o)
	}
	if damaged {
		p.cut = d
		s, err = p.tryCut()
	}
	if err != nil {
		return fmt.Errorf("cannot be repaired, restore a backup: %w", err)
	}
	p.mark = Mark{gen: m.gen, Log: s.Log, at: time.Now().UnixNano(), Reserved: s.stand.Given.Raise(m.Reserved), Branched: true}
	p.loss.After = record.TimeOf(s.stand.At)
	if m.Pos > 0 {
		p.loss.Records = max(0, int64(m.Pos-s.stand.Pos))
		p.loss.Before = record.TimeOf(m.at)
	}
	p.told = Repaired{At: time.Now(), Damage: p.damage(), After: s.stand.Given.Event, Since: p.loss.After}
	for _, name := range []string{nameFormat, nameMark} {
		p.loss.Files = append(p.loss.Files, o.path(name))
	}
	return s.DB.Close()
}

// damage returns the kind of the damage, as readers of events get it.
func (p *repairPlan) damage() string {
	switch {
	case p.cut != nil && p.cut.Gone:
		return gateway.DamageLogMissing
	case p.cut != nil:
		return gateway.DamageLog
	case p.loss.Records > 0:
		return gateway.DamageLogShort
	}
	return gateway.DamageMark
}

// tryCut reads the store as it will be without the damaged end of its log.
func (p *repairPlan) tryCut() (*found, error) {
	if err := p.findLogs(); err != nil {
		return nil, err
	}
	trial := *p.o
	trial.FS = &trialFS{FS: p.o.FS, dir: p.o.dbDir(), gone: p.gone, cut: p.cut}
	return surveyDatabase(&trial, &Mark{})
}

// findLogs finds the logs that go with the damaged one, and the messages in
// them that can still be read.
func (p *repairPlan) findLogs() error {
	names, err := p.o.FS.List(p.o.dbDir())
	if err != nil {
		return err
	}
	cut := logNumber(p.cut.File)
	p.gone = nil
	for _, name := range slices.Backward(logsOf(names)) {
		file := p.o.FS.PathJoin(p.o.dbDir(), name)
		from := int64(0)
		if logNumber(name) < cut {
			break
		}
		p.loss.Files = append(p.loss.Files, file)
		if logNumber(name) > cut {
			p.gone = append(p.gone, name)
		} else {
			from = p.cut.Offset
		}
		ids, err := lostMessages(p.o, file, from)
		if err != nil {
			return err
		}
		p.loss.Messages = append(p.loss.Messages, ids...)
	}
	slices.Sort(p.loss.Messages)
	p.loss.Messages = slices.Compact(p.loss.Messages)
	p.loss.Messages = p.loss.Messages[:min(len(p.loss.Messages), maxLostIDs)]
	return nil
}

// carryOut changes the directory. The order is such that a kill leaves either
// the damage, which the next repair finds, or a store that is branched.
func (p *repairPlan) carryOut() error {
	o := p.o
	for _, file := range p.loss.Files {
		if err := quarantine(o, file); err != nil {
			return err
		}
	}
	if err := p.told.put(o); err != nil {
		return err
	}
	if err := makeMark(o.FS, o.Dir, p.mark); err != nil {
		return err
	}
	if err := writeFormat(o); err != nil {
		return err
	}
	// From the newest to the oldest, so that a kill leaves a log without a gap.
	for _, name := range p.gone {
		err := errors.Join(o.FS.Remove(o.FS.PathJoin(o.dbDir(), name)), syncDir(o.FS, o.dbDir()))
		if err != nil {
			return err
		}
	}
	if p.cut == nil || p.cut.Gone {
		return nil
	}
	if err := cutFile(o.FS, p.cut.File, p.cut.Offset); err != nil {
		return fmt.Errorf("cut %s at %d: %w", p.cut.File, p.cut.Offset, err)
	}
	o.Logger.Warn("cut a damaged log", "file", p.cut.File, "offset", p.cut.Offset)
	return nil
}

// quarantine copies a file into the quarantine directory, once for each content.
func quarantine(o *Options, name string) error {
	dir := o.path(nameQuarantine)
	if err := MakeDir(o.FS, dir); err != nil {
		return err
	}
	content, err := readAll(o.FS, name)
	if err != nil {
		return ignoreMissing(err)
	}
	for n := 1; ; n++ {
		kept := o.FS.PathJoin(dir, fmt.Sprintf("%s.%d", filepath.Base(name), n))
		b, err := readAll(o.FS, kept)
		switch {
		case err == nil && bytes.Equal(b, content):
			return nil
		case err == nil:
			continue
		case ignoreMissing(err) != nil:
			return err
		}
		return replaceFile(o.FS, kept, content)
	}
}
