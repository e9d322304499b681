package engine

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/state"
)

// Report is what Verify has found.
type Report struct {
	Log   gateway.LogID
	Files int
	Bytes int64 // of the files
	state.Findings
}

// Verify reads everything in the data directory of a store that no process has
// open, without changing it: all blocks with their checksums, all rows with
// theirs, and whether the rows agree with each other. The error is of the
// directory itself; faults of the data are in the report.
func Verify(o Options) (*Report, error) {
	r := &Report{}
	err := withStored(o, func(e *Engine, v *view) error {
		r.Log = e.log
		v.countFiles(e.opt.FS, r)
		if err := v.inst.DB.CheckLevels(nil); err != nil {
			r.Problem("sorted tables: %v", err)
		}
		v.Check(&r.Findings)
		return nil
	})
	if err != nil && disk.IsDamage(err) {
		r.Problem("%v", err)
		err = nil
	}
	return r, err
}

// Refused returns why Open would refuse the directory, as far as its small files say so,
// such as the format of a newer version. A process may have the store open.
func Refused(o Options) error {
	o = o.withDefaults()
	return disk.Refused(o.disk())
}

// IsStore returns an error unless the directory has a store, or remains of one.
func IsStore(o Options) error {
	o = o.withDefaults()
	return disk.IsStore(o.disk())
}

// StatsOf returns the counts of a store that no process has open.
func StatsOf(o Options) (s gateway.StoreStats, err error) {
	err = withStored(o, func(e *Engine, v *view) error {
		s = e.Stats()
		return nil
	})
	return s, err
}

// withStored opens a store for reading only and runs fn.
func withStored(o Options, fn func(e *Engine, v *view) error) error {
	o = o.withDefaults()
	s, lock, err := disk.SurveyStored(o.disk())
	if err != nil {
		return err
	}
	defer lock.Close()
	defer s.DB.Close()
	at, err := state.ReadStanding(rows{s.DB})
	if err != nil {
		return err
	}
	e := &Engine{opt: o, log: s.Log, queue: newQueue()}
	v := newView(&instance{Database: s.Database}, at)
	e.view.Store(v)
	defer v.release()
	return fn(e, v)
}

// countFiles adds up the files and reads each from end to end, so that a block
// that the disk cannot read is found although no row is in it.
func (v *view) countFiles(fs vfs.FS, r *Report) {
	dir := v.inst.Dir()
	names, err := fs.List(dir)
	if err != nil {
		r.Problem("list %s: %v", dir, err)
		return
	}
	for _, name := range names {
		n, err := readThrough(fs, fs.PathJoin(dir, name))
		if err != nil {
			r.Problem("file %s: %v", fs.PathJoin(dir, name), err)
		}
		r.Files++
		r.Bytes += n
	}
}

func readThrough(fs vfs.FS, name string) (int64, error) {
	f, err := fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(io.Discard, f)
}
