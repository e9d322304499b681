//go:build !unix

package bench

func connectionsByFileLimit() int { return 1_000_000 }
