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
// # Names
//
// Each flag is also an environment variable: -http-addr is TRIGGERD_HTTP_ADDR. A flag wins over its variable, and a variable over
// the default. An empty variable counts as one that is not set, because that is what templates make of a missing value.
//
// # Failure
//
// Whatever cannot be understood is an error: an unknown flag, an unknown TRIGGERD_ variable (a misspelt one would be ignored for
// months), an argument that is no flag, a value out of its range. Load returns all of them joined, each on a line of its own.
//
// # Concurrency
//
// Load uses only what it is given; calls with different parts may run at once.
package config

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
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

// Load fills parts from args (without the program's name) and environ (as os.Environ has it). It returns flag.ErrHelp after it
// wrote the usage to help, if args asked for that; otherwise all faults joined.
func Load(name string, args, environ []string, help io.Writer, parts ...Part) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for _, p := range parts {
		p.RegisterFlags(fs)
	}
	faults := loadEnv(fs, environ)
	fromArgs, err := loadArgs(fs, args)
	if err != nil {
		usage(fs, help)
		return err
	}
	faults = append(faults, fromArgs...)
	for _, p := range parts {
		faults = append(faults, p.Validate())
	}
	return errors.Join(faults...)
}

// ServerVariables are what the configurations in deploy/nats read. Whoever starts a server and then a process in the same shell has both, and they are
// no misspelt settings.
var ServerVariables = []string{
	"TRIGGERD_NATS_NAME", "TRIGGERD_NATS_LISTEN", "TRIGGERD_NATS_CLUSTER", "TRIGGERD_NATS_ROUTES", "TRIGGERD_NATS_STORE",
	"TRIGGERD_TLS_CA", "TRIGGERD_TLS_CERT", "TRIGGERD_TLS_KEY",
	"TRIGGERD_NKEY_INGRESS", "TRIGGERD_NKEY_WORKER", "TRIGGERD_NKEY_OPERATOR", "TRIGGERD_NKEY_SYSTEM",
}

// Variable is the environment variable of a flag.
func Variable(flagName string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// loadEnv sets what environ says, in the order of the names, so that faults are always told in the same order.
func loadEnv(fs *flag.FlagSet, environ []string) (faults []error) {
	known := variables(fs)
	environ = slices.Sorted(slices.Values(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" || !strings.HasPrefix(name, Prefix) {
			continue
		}
		flagName, ok := known[name]
		if !ok && slices.Contains(ServerVariables, name) {
			continue
		}
		if !ok {
			faults = append(faults, unknown("environment variable "+name, name, mapKeys(known)))
			continue
		}
		if err := fs.Set(flagName, value); err != nil {
			faults = append(faults, fmt.Errorf("invalid value %q for %s: %w", value, name, err))
			restore(fs, flagName)
		}
	}
	return faults
}

// variables maps the variable of each flag to its flag.
func variables(fs *flag.FlagSet) map[string]string {
	known := map[string]string{}
	fs.VisitAll(func(f *flag.Flag) { known[Variable(f.Name)] = f.Name })
	return known
}

// loadArgs parses args to their end, where the flag set by itself stops at the first fault. err is flag.ErrHelp or nil.
func loadArgs(fs *flag.FlagSet, args []string) (faults []error, err error) {
	for len(args) > 0 {
		before := args
		err := fs.Parse(args)
		args = fs.Args()
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil, err
		case err == nil && len(args) > 0: // the first one is no flag
			faults = append(faults, fmt.Errorf("unexpected argument %q", args[0]))
			args = args[1:]
		case err != nil:
			args, err = explain(fs, err, before, args)
			faults = append(faults, err)
		}
	}
	return faults, nil
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
		return rest, err
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

func flags(fs *flag.FlagSet) (names []string) {
	fs.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return names
}

func mapKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// unknown names the nearest of candidates, if one is near at all.
func unknown(what, name string, candidates []string) error {
	slices.Sort(candidates)
	best := slices.MinFunc(append(candidates, ""), func(a, b string) int { return cmp.Compare(distance(name, a), distance(name, b)) })
	if best == "" || distance(name, best) > max(2, len(name)/3) {
		return fmt.Errorf("unknown %s", what)
	}
	return fmt.Errorf("unknown %s: did you mean %s?", what, best)
}

// distance is the number of bytes to insert, delete or change to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
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
