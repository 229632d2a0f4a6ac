// Package config fills a program's settings from flags and environment variables, and says everything that is wrong at once.
//
// # Usage
//
// A package describes its settings as a [Part]: RegisterFlags names each one on a flag set, with its default, and Validate
// looks at the result. A program loads its parts together:
//
//	switch err := config.Load("standalone", os.Args[1:], os.Environ(), os.Stdout, &cfg); {
//	case errors.Is(err, flag.ErrHelp):
//		return 0
//	case err != nil:
//		fmt.Fprintln(os.Stderr, err)
//		return 2
//	}
//
// [Read] says besides what every setting is and who said so.
//
// # Names
//
// Each flag is also an environment variable: -http-addr is TRIGGERD_HTTP_ADDR. A flag wins over its variable, and a variable over
// the default. An empty variable counts as one that is not set, because that is what templates make of a missing value.
//
// # Secrets
//
// A setting that may hold a secret is a [Secret] or a [URL]: nothing that shows settings shows what is secret in it. Each has a second flag, and
// variable, by which it comes from a file: -token has -token-file, TRIGGERD_TOKEN_FILE. Both at once contradict each other.
//
// # Failure
//
// Whatever cannot be understood is an error: an unknown flag, an unknown TRIGGERD_ variable (a misspelt one would be ignored for
// months), an argument that is no flag, a value out of its range. Load returns all of them joined, each on a line of its own with the settings that it is about
// and where each came from. The variables of the other programs may be there too: programs share environments.
//
// # Concurrency
//
// Load uses only what it is given; calls with different parts may run at once.
package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Prefix of every environment variable.
const Prefix = "TRIGGERD_"

// Part is a group of settings. RegisterFlags must set the defaults; Validate joins all faults and is called even if some settings could not
// be understood, those having their defaults then.
type Part interface {
	RegisterFlags(*flag.FlagSet)
	Validate() error
}

// Checker is a Part that finds more than contradictions among values: a file that is missing or not what it should be, a value that would be
// replaced silently. Check joins all faults. It is called by Load alone, and reads at most: it makes nothing, and asks nobody.
type Checker interface{ Check() error }

// Warner is a Part that knows what may be meant, and most likely is not.
type Warner interface{ Warnings() []string }

// Learner is a Part that is told what all settings are, its own and those of others, when nothing is wrong with them.
type Learner interface{ Learn(Effective) }

// Load fills parts from args (without the program's name) and environ (as os.Environ has it). It returns flag.ErrHelp after it
// wrote the usage to help, if args asked for that; otherwise all faults joined.
func Load(name string, args, environ []string, help io.Writer, parts ...Part) error {
	_, err := Read(name, args, environ, help, parts...)
	return err
}

// Read is Load, and says what the settings are, also if there are faults.
func Read(name string, args, environ []string, help io.Writer, parts ...Part) (Effective, error) {
	r := &reading{fs: register(name, parts), sources: map[string]string{}}
	r.loadEnv(environ)
	if err := r.loadArgs(args); err != nil {
		usage(r.fs, help)
		return Effective{}, err
	}
	r.loadFiles()
	for _, p := range parts {
		r.judge(p)
	}
	told := r.effective()
	if err := errors.Join(r.faults...); err != nil {
		return told, err
	}
	for _, p := range parts {
		if l, ok := p.(Learner); ok {
			l.Learn(told)
		}
	}
	return told, nil
}

// Variables are the environment variables that parts take.
func Variables(parts ...Part) (names []string) {
	register("", parts).VisitAll(func(f *flag.Flag) { names = append(names, Variable(f.Name)) })
	return names
}

// Variable is the environment variable of a flag.
func Variable(flagName string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// register makes the flags of parts, and the second ones of those that may be secret.
func register(name string, parts []Part) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for _, p := range parts {
		p.RegisterFlags(fs)
	}
	registerFiles(fs)
	return fs
}

// reading is one Read.
type reading struct {
	fs       *flag.FlagSet
	sources  map[string]string // by flag; no entry: the default
	ignored  []string          // variables of other programs
	warnings []string
	faults   []error
}

func (r *reading) fault(err error) { r.faults = append(r.faults, err) }

// judge asks a part what is wrong with it.
func (r *reading) judge(p Part) {
	found := []error{p.Validate()}
	if c, ok := p.(Checker); ok {
		found = append(found, c.Check())
	}
	for _, err := range apart(errors.Join(found...)) {
		r.fault(r.sourced(err))
	}
	if w, ok := p.(Warner); ok {
		r.warnings = append(r.warnings, w.Warnings()...)
	}
}

// usage lists every flag with its variable and its default.
func usage(fs *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "Usage of %s:\n\nEach flag is also the environment variable named beside it; the flag wins.\n", fs.Name())
	fs.VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "\n  -%s\t%s", strings.TrimSpace(f.Name+" "+kind), Variable(f.Name))
		fmt.Fprintf(w, "\n    \t%s (default %q)\n", text, f.DefValue)
	})
}
