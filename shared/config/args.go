package config

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"
)

// What is said of where a setting comes from. An environment variable is said by its name.
const (
	fromDefault = "default"
	fromFlag    = "flag"
)

// loadArgs parses args to their end, where the flag set by itself stops at the first fault. err is flag.ErrHelp or nil.
func (r *reading) loadArgs(args []string) error {
	for len(args) > 0 {
		before := args
		err := r.fs.Parse(args)
		args = r.fs.Args()
		switch {
		case errors.Is(err, flag.ErrHelp):
			return err
		case err == nil && len(args) > 0: // the first one is no flag
			r.fault(fmt.Errorf("unexpected argument %q", args[0]))
			args = args[1:]
		case err != nil:
			args, err = explain(r.fs, err, before, args)
			r.fault(err)
		}
	}
	r.fs.Visit(func(f *flag.Flag) { r.sources[f.Name] = fromFlag })
	return nil
}

// explain returns the arguments to go on with, and the flag set's error as ours. A flag of bad syntax is not
// taken from the arguments by Parse; an unknown one leaves its value behind.
func explain(fs *flag.FlagSet, err error, before, rest []string) (next []string, fault error) {
	if len(rest) == len(before) {
		return rest[1:], err
	}
	culprit := before[len(before)-len(rest)-1]
	name, _, hasValue := strings.Cut(strings.TrimLeft(culprit, "-"), "=")
	if !strings.HasPrefix(err.Error(), "flag provided but not defined") {
		if !hasValue && fs.Lookup(name) == nil { // the value is an argument of its own
			name = strings.TrimLeft(before[max(0, len(before)-len(rest)-2)], "-")
		}
		restore(fs, name)
		return rest, wanted(fs.Lookup(name), err)
	}
	if !hasValue && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		rest = rest[1:]
	}
	return rest, unknown("flag -"+name, "-"+name, flags(fs))
}

// restore gives a flag its default back. A number whose text makes no sense would be 0, and Validate would complain about that too.
func restore(fs *flag.FlagSet, name string) {
	if f := fs.Lookup(name); f != nil {
		_ = f.Value.Set(f.DefValue) // some defaults cannot be written, as that of no time
	}
}

// wanted says what a flag takes, where the flag set says no more than that it cannot be read.
func wanted(f *flag.Flag, err error) error {
	const poor = "parse error"
	text, ok := strings.CutSuffix(err.Error(), poor)
	if !ok || f == nil {
		return err
	}
	if getter, ok := f.Value.(flag.Getter); ok {
		return errors.New(text + kind(getter.Get()))
	}
	return err
}

func kind(v any) string {
	switch v.(type) {
	case time.Duration:
		return "not a duration like 1h30m or 250ms"
	case bool:
		return "neither true nor false"
	case float64:
		return "not a number"
	case uint, uint64:
		return "not a whole number from 0"
	}
	return "not a whole number"
}

func flags(fs *flag.FlagSet) (names []string) {
	fs.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return names
}
