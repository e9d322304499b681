package cli

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/longwire/longwire/internal/config"
)

// durationFlag is a flag that takes a duration from 0 on, as the settings and the API do,
// with days.
type durationFlag time.Duration

// durationVar defines a durationFlag.
func durationVar(fl *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	fl.Var((*durationFlag)(d), name, usage)
}

// Set reads the value of the flag.
func (d *durationFlag) Set(text string) error {
	v, err := config.ParseDuration(text)
	if err == nil && v < 0 {
		err = errors.New("want a duration from 0 on")
	}
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

// countFlag is a flag that takes a number from 0 on.
type countFlag int

// countVar defines a countFlag.
func countVar(fl *pflag.FlagSet, n *int, name string, value int, usage string) {
	*n = value
	fl.Var((*countFlag)(n), name, usage)
}

// Set reads the value of the flag.
func (n *countFlag) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 0 {
		return errors.New("want a number from 0 on")
	}
	*n = countFlag(v)
	return nil
}

// String returns the value.
func (n *countFlag) String() string { return strconv.Itoa(int(*n)) }

// Type is the placeholder in the help.
func (n *countFlag) Type() string { return "int" }
