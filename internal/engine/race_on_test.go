//go:build race

package engine

// underRace is true with the race detector, which makes reading a whole store
// again and again ten times as slow.
const underRace = true
