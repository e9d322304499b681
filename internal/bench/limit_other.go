//go:build !unix

package bench

func clientsByFileLimit() int { return maxClients }
