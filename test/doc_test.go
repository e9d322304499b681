// Package test tries the whole of Longwire: real processes, the two programs
// that the protocol's first dialect comes from, and crowds of devices.
package test
