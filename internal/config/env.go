package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/longwire/longwire/internal/private"
)

const (
	envConfig  = envPrefix + "CONFIG" // names the configuration file
	fileSuffix = "_FILE"              // names the file that holds a secret
)

// environment returns the LONGWIRE_ variables of env. The last of two with the same
// name counts, as the operating system does it for a program.
func environment(env []string) map[string]string {
	vars := map[string]string{}
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, envPrefix) {
			vars[name] = value
		}
	}
	return vars
}

// loadEnv reads the settings of the environment. An empty variable counts as not
// set, because container tools pass unset values that way.
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
		case !ok && ofOrchestrator(name, vars[name]):
		case !ok:
			known := append(slices.Sorted(maps.Keys(byEnv)), envConfig)
			l.complain(Problem{Text: "unknown setting" + DidYouMean(name, known), Source: from})
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

// orchestrated are the forms of the variables that Kubernetes and container links
// add for a service whose name begins with "longwire": the end of the name and the
// form of the value.
var orchestrated = []struct{ name, value *regexp.Regexp }{
	{regexp.MustCompile(`_SERVICE_HOST$`), regexp.MustCompile(`^[0-9a-fA-F.:]+$`)},
	{regexp.MustCompile(`_SERVICE_PORT(_[A-Z0-9_]+)?$`), regexp.MustCompile(`^[0-9]+$`)},
	{regexp.MustCompile(`_PORT(_[0-9]+_(TCP|UDP|SCTP))?$`), regexp.MustCompile(`^(tcp|udp|sctp)://\S+$`)},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO$`), regexp.MustCompile(`^(tcp|udp|sctp)$`)},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT$`), regexp.MustCompile(`^[0-9]+$`)},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR$`), regexp.MustCompile(`^[0-9a-fA-F.:]+$`)},
	{regexp.MustCompile(`_NAME$`), regexp.MustCompile(`^/\S+/\S+$`)},
	{regexp.MustCompile(`_ENV_`), regexp.MustCompile(``)}, // the environment of the other container
}

// ofOrchestrator reports whether the form of a variable shows that an orchestrator
// set it. Any other unknown variable is a mistyped setting.
func ofOrchestrator(name, value string) bool {
	return slices.ContainsFunc(orchestrated, func(o struct{ name, value *regexp.Regexp }) bool {
		return o.name.MatchString(name) && o.value.MatchString(value)
	})
}

// loadSecret reads a secret from its file. A list has one item per line or
// separates them by commas. A file that another user can change is a problem.
func (l *loader) loadSecret(s setting, from Source, name string) {
	if err := private.Trusted(name); err != nil {
		l.complain(Problem{Setting: s.key, Text: err.Error(), Source: from})
		return
	}
	l.config.secretFiles = append(l.config.secretFiles, name)
	text, err := readText(name)
	if err != nil {
		l.complain(Problem{Setting: s.key, Text: fmt.Sprintf("%s: %v", name, err), Source: from})
		return
	}
	if strings.TrimSpace(text) == "" {
		l.complain(Problem{Setting: s.key, Text: name + ": is empty; if there is no secret, remove the variable", Source: from})
		return
	}
	if s.list() {
		text = strings.ReplaceAll(text, "\n", ",")
	}
	l.assign(s, from, func() error { return s.set(text) })
}
