package config

import (
	"fmt"

	"github.com/spf13/pflag"
)

// RegisterFlags adds a flag for each setting to fs.
func RegisterFlags(fs *pflag.FlagSet) {
	for _, s := range settings(Default()) {
		f := fs.VarPF(&flagValue{setting: s, text: s.text()}, s.flag, "", s.usage())
		if s.kind() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// usage is the help of a flag.
func (s setting) usage() string {
	switch {
	case s.secret():
		return s.help() + fmt.Sprintf(" (rather use %s or %s%s: others can see a command line)", s.env, s.env, fileSuffix)
	case s.list():
		return s.help() + " (by comma)"
	}
	return s.help()
}

// flagValue is a pflag.Value that checks each text at once; Load reads the texts
// again. A flag that is given several times adds to its list.
type flagValue struct {
	setting setting // a field of a Config that only this flag uses
	text    string
	given   bool
}

func (v *flagValue) Set(text string) error {
	if v.given && v.setting.list() {
		text = v.text + "," + text
	}
	if err := v.setting.set(text); err != nil {
		return err
	}
	v.text, v.given = text, true
	return nil
}

// String returns the default for the help, or the given text. It never returns a
// secret.
func (v *flagValue) String() string {
	if v.setting.value.IsValid() && v.setting.secret() {
		return v.setting.text()
	}
	return v.text
}

// Type names the kind of value in the help.
func (v *flagValue) Type() string { return v.setting.kind() }

// loadFlags reads the settings that the command line gives.
func (l *loader) loadFlags(fs *pflag.FlagSet) {
	if fs == nil {
		return
	}
	for _, s := range l.settings {
		f := fs.Lookup(s.flag)
		if f == nil || !f.Changed {
			continue
		}
		if v, ok := f.Value.(*flagValue); ok {
			l.assign(s, Source{Kind: "flag", Name: "--" + s.flag}, func() error { return s.set(v.text) })
		}
	}
}
