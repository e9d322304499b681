//go:build !race && cgo

package hostile

// storeInHeap: the store's memory tables are outside of Go's heap.
const storeInHeap = false
