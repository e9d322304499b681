// Package disk keeps the files of a store: it judges a data directory, makes one,
// repairs one, holds it for writing, and opens the database in it.
//
//	LOCK FORMAT MARK   one process, this version, the least that the database has
//	CREATING RESTORING in place of FORMAT until a store is complete
//	db/                the database
//	quarantine/        the files that a repair has changed, as they were
//
// A Keeper is the way to write. Survey is the one judge: all that opens a directory
// asks it, and it changes nothing. A Database whose disk fails is sealed, and the
// Keeper opens the next one.
//
// The package knows the version of the rows and the log's name. All other rows are
// another package's: Rows says the little of them that has to be known here.
package disk
