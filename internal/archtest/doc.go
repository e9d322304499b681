// Package archtest checks the architecture, which package may import which, the
// language of comments and pages, and the form of pages. The rules of imports are
// in table_test.go and their checker in imports_test.go; phrases_test.go has the language
// and markdown_test.go the pages. Each checker is tested on input that breaks each rule.
package archtest
