// Package hostile attacks a whole gateway as the open internet would. Each
// behaviour is a small function that misbehaves and says exactly how it wants
// to be refused; after each one the devices that were there before must still
// be connected and served, and memory, goroutines and files be back to what
// they were.
package hostile
