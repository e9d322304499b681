// Package disk keeps the files of a store: it judges a data directory, makes one,
// repairs one, holds it for writing, and opens the database in it.
//
//	LOCK FORMAT MARK   one process, this version, the least that the database has
//	CREATING RESTORING in place of FORMAT until a store is complete
//	db/                the database
//	quarantine/        the files that a repair has changed, as they were
//
// A MarkWriter holds the directory for writing. Survey is the one judge: everything
// that opens a directory asks it, and it changes nothing. A Database whose disk fails
// is sealed, and the MarkWriter opens the next one.
//
// The package knows the version of the rows and the log's name. All other rows are
// another package's: Rows says the little of them that has to be known here.
package disk
