// Package record is the format of the log: events, the records that carry them,
// and the encoding that rows share with them. Nodes and versions exchange these
// bytes, so that a change here is a change of format.
//
//	event → Commit.Encode → bytes in a journal → Decode → event
//
// It knows no database, no clock and no rule: the times and ids of an event come
// from its writer, and package state decides on the outcome.
package record
