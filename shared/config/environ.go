package config

import (
	"cmp"
	_ "embed"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ServerVariables are what the configurations in deploy/nats read. Whoever starts a server and then a process in the same shell has both, and they are
// no misspelt settings.
var ServerVariables = []string{
	"TRIGGERD_NATS_NAME", "TRIGGERD_NATS_LISTEN", "TRIGGERD_NATS_CLUSTER", "TRIGGERD_NATS_ROUTES", "TRIGGERD_NATS_STORE",
	"TRIGGERD_TLS_CA", "TRIGGERD_TLS_CERT", "TRIGGERD_TLS_KEY",
	"TRIGGERD_NKEY_INGRESS", "TRIGGERD_NKEY_WORKER", "TRIGGERD_NKEY_OPERATOR", "TRIGGERD_NKEY_SYSTEM",
}

// programVariables has a line for each variable that some program takes, and the programs: what is there is no misspelt setting of another one.
// A test of deploy/settings holds it against the programs.
//
//go:embed variables.txt
var programVariables string

// ProgramVariables are the variables of all programs, with the programs that take each.
func ProgramVariables() map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(programVariables) {
		if words := strings.Fields(line); len(words) > 0 {
			all[words[0]] = words[1:]
		}
	}
	return all
}

// loadEnv sets what environ says, in the order of the names, so that faults are always told in the same order.
func (r *reading) loadEnv(environ []string) {
	known, elsewhere := variables(r.fs), ProgramVariables()
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" || !strings.HasPrefix(name, Prefix) {
			continue
		}
		flagName, ok := known[name]
		switch {
		case ok:
			r.setFromEnv(flagName, name, value)
		case slices.Contains(ServerVariables, name):
		case elsewhere[name] != nil:
			r.ignored = append(r.ignored, fmt.Sprintf("%s (of %s)", name, strings.Join(elsewhere[name], ", ")))
		default:
			r.fault(unknownVariable(name, slices.Collect(maps.Keys(known))))
		}
	}
}

// setFromEnv goes past the flag set, so that what that has set are the arguments.
func (r *reading) setFromEnv(flagName, variable, value string) {
	f := r.fs.Lookup(flagName)
	if err := f.Value.Set(value); err != nil {
		r.fault(wanted(f, fmt.Errorf("invalid value %q for %s: %w", value, variable, err)))
		restore(r.fs, flagName)
		return
	}
	r.sources[flagName] = variable
}

// variables maps the variable of each flag to its flag.
func variables(fs *flag.FlagSet) map[string]string {
	known := map[string]string{}
	fs.VisitAll(func(f *flag.Flag) { known[Variable(f.Name)] = f.Name })
	return known
}

// serviceLinks are what Kubernetes puts into the environment for every Service of a namespace.
var serviceLinks = []string{"_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_TCP_ADDR", "_TCP_PORT", "_TCP_PROTO"}

func unknownVariable(name string, known []string) error {
	err := unknown("environment variable "+name, name, known)
	if slices.ContainsFunc(serviceLinks, func(end string) bool { return strings.HasSuffix(name, end) }) {
		return fmt.Errorf("%w (it looks like one that Kubernetes makes of a Service: enableServiceLinks: false in the pod turns these off)", err)
	}
	return err
}

// unknown names the nearest of candidates, if one is near at all: what all names have in common makes nothing near.
func unknown(what, name string, candidates []string) error {
	slices.Sort(candidates)
	best := slices.MinFunc(append(candidates, ""), func(a, b string) int { return cmp.Compare(distance(name, a), distance(name, b)) })
	if best == "" || distance(name, best) > max(2, len(strings.TrimPrefix(name, Prefix))/3) {
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
