package config

import (
	"fmt"
	"regexp"
	"strings"
)

// apart takes joined errors apart. What wraps several without a line for each is one.
func apart(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var texts []string
	for _, e := range joined.Unwrap() {
		texts = append(texts, e.Error())
	}
	if err.Error() != strings.Join(texts, "\n") {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, apart(e)...)
	}
	return all
}

// named finds what may be a flag in a fault.
var named = regexp.MustCompile(`(?:^|[\s(])-([a-z][a-z0-9-]*[a-z0-9])`)

// sourced adds to a fault where the settings that it names come from.
func (r *reading) sourced(fault error) error {
	var names, sources []string
	seen := map[string]bool{}
	for _, match := range named.FindAllStringSubmatch(fault.Error(), -1) {
		name := match[1]
		if r.fs.Lookup(name) == nil || seen[name] {
			continue
		}
		seen[name] = true
		names, sources = append(names, name), append(sources, r.source(name))
	}
	switch len(names) {
	case 0:
		return fault
	case 1:
		return fmt.Errorf("%w (%s)", fault, sources[0])
	}
	for i, name := range names {
		sources[i] = "-" + name + ": " + sources[i]
	}
	return fmt.Errorf("%w (%s)", fault, strings.Join(sources, ", "))
}

func (r *reading) source(flagName string) string {
	if s := r.sources[flagName]; s != "" {
		return s
	}
	return fromDefault
}
