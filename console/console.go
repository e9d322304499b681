// Package console embeds the web console: a page for browsers that is a client of /v1
// like any other.
//
// The source is in src, the built files are in dist and are committed, so that building
// the gateway needs no Node. README.md says how to work on it.
package console

import (
	"embed"
	"io/fs"
)

//go:embed dist
var dist embed.FS

// Files holds the built console: index.html, and under assets files whose names change
// with their content.
var Files = must(fs.Sub(dist, "dist"))

func must(files fs.FS, err error) fs.FS {
	if err != nil {
		panic(err) // the path is a constant
	}
	return files
}
