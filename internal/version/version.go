// Package version has the version of this binary.
package version

import (
	"runtime"
	"runtime/debug"
)

// version is set by -ldflags -X in releases.
var version string

// Info is the answer of `longwire version` and GET /version.
type Info struct {
	Version string `json:"version"`          // tag, module version or "dev"
	Commit  string `json:"commit,omitempty"` // full hash, when built inside a checkout
	Date    string `json:"date,omitempty"`   // of the commit, RFC 3339
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Get reads the build information of the running binary.
func Get() Info {
	i := Info{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	b, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Commit = s.Value
			case "vcs.time":
				i.Date = s.Value
			}
		}
		if i.Version == "" && b.Main.Version != "" && b.Main.Version != "(devel)" {
			i.Version = b.Main.Version
		}
	}
	if i.Version == "" {
		i.Version = "dev"
	}
	return i
}
