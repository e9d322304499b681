// Package archtest keeps the architecture: which package may import which. The
// table is in table.go, the checker in check.go; both run as a test, and the
// checker is itself tested on graphs that break each rule.
package archtest
