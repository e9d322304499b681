package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/longwire/longwire/internal/private"
)

const (
	envConfig  = envPrefix + "CONFIG" // names the file
	fileSuffix = "_FILE"              // of a secret: the file that holds it
)

// environment returns the LONGWIRE_ variables of env. Of one that is there
// twice the last counts, as for a program started with it.
func environment(env []string) map[string]string {
	vars := map[string]string{}
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, envPrefix) {
			vars[name] = value
		}
	}
	return vars
}

// loadEnv reads the settings of the environment. An empty variable counts as
// not set, for that is how container tools pass what is not given.
func (l *loader) loadEnv(vars map[string]string, ignore []string) {
	byEnv := map[string]setting{}
	for _, s := range l.settings {
		byEnv[s.env] = s
		if s.secret() {
			byEnv[s.env+fileSuffix] = s
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		from := Source{Kind: "env", Name: name}
		s, ok := byEnv[name]
		switch {
		case name == envConfig || slices.Contains(ignore, name):
		case !ok:
			known := append(slices.Sorted(maps.Keys(byEnv)), envConfig)
			l.complain(Problem{Text: "unknown setting" + didYouMean(name, known), Source: from})
		case vars[name] == "":
		case name == s.env:
			l.assign(s, from, func() error { return s.set(vars[name]) })
		case vars[s.env] != "":
			l.complain(Problem{Setting: s.key, Text: fmt.Sprintf("%s is set, too; use one of them", s.env), Source: from})
		default:
			l.loadSecret(s, from, vars[name])
		}
	}
}

// loadSecret reads a secret from its file, a list one per line or by comma. A file
// that another user can change is a problem.
func (l *loader) loadSecret(s setting, from Source, name string) {
	if err := private.Trusted(name); err != nil {
		l.complain(Problem{Setting: s.key, Text: err.Error(), Source: from})
		return
	}
	text, err := readBounded(name)
	if err != nil {
		l.complain(Problem{Setting: s.key, Text: fmt.Sprintf("%s: %v", name, err), Source: from})
		return
	}
	if s.list() {
		text = strings.ReplaceAll(text, "\n", ",")
	}
	l.assign(s, from, func() error { return s.set(text) })
}
