//go:build !unix

package bench

func connectionsByFileLimit() int { return maxClients }
