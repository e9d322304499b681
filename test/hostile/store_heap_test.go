//go:build race || !cgo

package hostile

// storeInHeap: the store's memory tables are in Go's heap, where the detector
// can watch them.
const storeInHeap = true
