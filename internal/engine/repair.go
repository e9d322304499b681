package engine

import "github.com/longwire/longwire/internal/engine/disk"

// A Loss describes the records that a repair gives up.
type Loss = disk.Loss

// Repair makes a store that Open refuses one that it opens. It can cut a log at
// its first damage, and make MARK and FORMAT anew; everything else needs a backup.
// accept is asked before anything is changed; its error ends the repair. What
// Repair changes is copied into the quarantine directory first. As part of the
// log is lost, the log gets a new name and the numbers rise, as by Restore.
//
// It returns nil for a store that is whole. After a kill at any moment it can be
// run again: MARK says that the store is branched before the first file of the
// database changes.
func Repair(o Options, accept func(*Loss) error) (*Loss, error) {
	o = o.withDefaults()
	lost, err := disk.Repair(o.disk(), accept)
	if err != nil || lost == nil {
		return lost, err
	}
	o.SweepEvery = -1
	e, err := Open(o) // gives the log its new name
	if err != nil {
		return lost, err
	}
	return lost, e.Close()
}

// RebuildMarker writes the markers of a database that has lost one. It takes the
// newest manifest by which the store is whole: all files that the manifest names
// exist with their sizes, and nothing is missing that MARK knows of.
func RebuildMarker(o Options) (made []string, err error) {
	o = o.withDefaults()
	return disk.RebuildMarker(o.disk())
}
