// Package archtest checks the architecture, which package may import which, and
// the language of comments. The rules of imports are in table.go and their
// checker in check.go; words.go has the language. Each checker is tested on input
// that breaks each rule.
package archtest
