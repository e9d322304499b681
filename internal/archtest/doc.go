// Package archtest checks the architecture, which package may import which, the
// language of comments and pages, and the form of pages. The rules of imports are
// in table.go and their checker in check.go; words.go has the language and
// pages.go the pages. Each checker is tested on input that breaks each rule.
package archtest
