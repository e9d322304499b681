package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/longwire/longwire/internal/config"
)

// durationFlag is a flag that takes a duration as the settings and the API do, with days.
type durationFlag time.Duration

// durationVar defines a durationFlag.
func durationVar(fl *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	fl.Var((*durationFlag)(d), name, usage)
}

// Set reads the value of the flag.
func (d *durationFlag) Set(text string) error {
	v, err := config.ParseDuration(text)
	if err == nil {
		*d = durationFlag(v)
	}
	return err
}

// String returns the value as Set reads it, "" for 0: the help then shows no default.
func (d *durationFlag) String() string {
	if *d == 0 {
		return ""
	}
	return config.Duration(*d).String()
}

// Type is the placeholder in the help.
func (d *durationFlag) Type() string { return "duration" }
