// Package hostile attacks a whole gateway as the open internet would. Each
// behaviour is a small function that misbehaves and says exactly how it wants
// to be refused; after each one the devices that were there before must still
// be connected and served, and memory, goroutines and files be back to what
// they were.
//
// So that what is measured is one test's own, each runs in a process of its own
// (process_test.go), and several of them at once. What devices do is tried on
// every driver of tcp.driver.
package hostile
