package config

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// LoadOptions says where settings come from. The zero value gives the defaults.
type LoadOptions struct {
	// File is the YAML file, as --config names it. If it is "", LONGWIRE_CONFIG
	// names the file; without either, Load reads no file.
	File string
	// Env is the environment as "NAME=value", usually os.Environ().
	Env []string
	// IgnoreEnv are LONGWIRE_ names that other programs read, such as the commands
	// that call the API. Any other unknown one is an error.
	IgnoreEnv []string
	// Flags are the parsed flags that RegisterFlags added; nil for none.
	Flags *pflag.FlagSet
	// Beside is for commands that open no listener: an open one is no problem.
	// Such a command makes the first key.
	Beside bool
}

// Source says which source set a value.
type Source struct {
	Kind string // "default", "file", "env" or "flag"
	Name string // longwire.yaml:12, LONGWIRE_TCP_ADDR, --tcp-addr

	excerpt string // the line of the file with a caret
}

func (s Source) String() string {
	if s.Kind == "default" {
		return s.Kind
	}
	return s.Kind + " " + s.Name
}

// Provenance maps the key of a setting to its source. A missing key means the
// default.
type Provenance map[string]Source

// Of returns the source of a setting.
func (p Provenance) Of(key string) Source {
	if s, ok := p[key]; ok {
		return s
	}
	return Source{Kind: "default"}
}

// Problem is one thing that is wrong.
type Problem struct {
	Setting string // its key, "" if the problem is not about one setting
	Text    string
	Source  Source
}

// Error lists every problem, so that an operator can solve all of them at once.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		if p.Source.Name != "" {
			fmt.Fprintf(&b, "%s: ", p.Source.Name)
		}
		if p.Setting != "" {
			fmt.Fprintf(&b, "%s: ", p.Setting)
		}
		b.WriteString(p.Text)
		if p.Source.excerpt != "" {
			b.WriteByte('\n')
			b.WriteString(p.Source.excerpt)
		}
	}
	return b.String()
}

// loader is one Load under way.
type loader struct {
	config   *Config
	settings []setting
	byKey    map[string]setting
	from     Provenance
	problems []Problem
}

func newLoader() *loader {
	l := &loader{config: Default(), byKey: map[string]setting{}, from: Provenance{}}
	l.settings = settings(l.config)
	for _, s := range l.settings {
		l.byKey[s.key] = s
	}
	return l
}

// Load returns the valid configuration and the source of each value. The error is
// an *Error with every problem that Load found.
func Load(o LoadOptions) (*Config, Provenance, error) {
	l := newLoader()
	env := environment(o.Env)
	if file := cmp.Or(o.File, env[envConfig]); file != "" {
		l.loadFile(file)
	}
	l.loadEnv(env, o.IgnoreEnv)
	l.loadFlags(o.Flags)
	if len(l.problems) == 0 { // the checks would mislead after an error of reading
		problems := l.config.problems()
		if !o.Beside {
			problems = append(problems, l.config.exposed()...)
		}
		for _, p := range problems {
			p.Source = l.from.Of(p.Setting)
			l.problems = append(l.problems, p)
		}
	}
	if len(l.problems) > 0 {
		return nil, nil, &Error{l.problems}
	}
	return l.config, l.from, nil
}

// assign calls set, which changes s, and notes the source of the value.
func (l *loader) assign(s setting, from Source, set func() error) {
	if err := set(); err != nil {
		text := err.Error()
		if s.secret() {
			text = "cannot be read"
		}
		l.complain(Problem{Setting: s.key, Text: text, Source: from})
		return
	}
	l.from[s.key] = from
}

func (l *loader) complain(p Problem) { l.problems = append(l.problems, p) }

// names returns one of the names of every setting, chosen by of.
func (l *loader) names(of func(setting) string) []string {
	var list []string
	for _, s := range l.settings {
		list = append(list, of(s))
	}
	return list
}
