//go:build !race

package engine

// underRace is true with the race detector.
const underRace = false
