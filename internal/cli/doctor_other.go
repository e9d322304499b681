//go:build !linux

package cli

func (h host) limits() []finding { return []finding{fileLimit()} }

func (h host) clock() []finding { return []finding{monotonic()} }
