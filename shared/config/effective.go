package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
)

// Effective is what a program was told, in the order of the names. It holds no secret, and so can be shown.
type Effective struct {
	Program  string    `json:"program"`
	Settings []Setting `json:"settings"`
	Ignored  []string  `json:"ignored"`  // environment variables that are other programs'
	Warnings []string  `json:"warnings"` // what may be meant, and most likely is not
}

// Setting is one of them.
type Setting struct {
	Name     string `json:"name"` // of the flag, without its dash
	Variable string `json:"variable"`
	Value    string `json:"value"`
	Default  string `json:"default"`
	Source   string `json:"source"`   // default, flag, "file <name>", or the environment variable
	Redacted bool   `json:"redacted"` // Value is not all of it
}

// Given says whether anybody said it.
func (s Setting) Given() bool { return s.Source != fromDefault }

func (r *reading) effective() Effective {
	told := Effective{Program: r.fs.Name(), Settings: []Setting{}, Ignored: append([]string{}, r.ignored...), Warnings: append([]string{}, r.warnings...)}
	r.fs.VisitAll(func(f *flag.Flag) {
		s := Setting{Name: f.Name, Variable: Variable(f.Name), Value: f.Value.String(), Default: f.DefValue, Source: r.source(f.Name)}
		if h, ok := f.Value.(hiding); ok {
			s.Redacted = h.raw() != s.Value
		}
		told.Settings = append(told.Settings, s)
	})
	return told
}

// Without leaves out the setting of a flag.
func (e Effective) Without(name string) Effective {
	e.Settings = slices.DeleteFunc(slices.Clone(e.Settings), func(s Setting) bool { return s.Name == name })
	return e
}

// LogValue has what is not left to its default.
func (e Effective) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, s := range e.Settings {
		if s.Given() {
			attrs = append(attrs, slog.String(s.Name, s.Value))
		}
	}
	return slog.GroupValue(attrs...)
}

// Forms in which settings are shown.
const (
	FormText = "text" // a setting a line: name, value, source
	FormEnv  = "env"  // as an environment file
	FormJSON = "json"
)

// Form is one of the forms as a setting. It is a flag.Value.
type Form string

// Set takes a form by its name.
func (f *Form) Set(name string) error {
	switch name {
	case FormText, FormEnv, FormJSON:
		*f = Form(name)
		return nil
	}
	return fmt.Errorf("not one of %s, %s, %s", FormText, FormEnv, FormJSON)
}

func (f *Form) String() string {
	if f == nil {
		return ""
	}
	return string(*f)
}

// Write shows the settings.
func (e Effective) Write(w io.Writer, form Form) error {
	switch form {
	case FormJSON:
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(e)
	case FormEnv:
		return e.writeEnv(w)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range e.Settings {
		value := s.Value
		if value == "" {
			value = `""`
		}
		fmt.Fprintf(table, "-%s\t%s\t%s\n", s.Name, value, s.Source)
	}
	return table.Flush()
}

// writeEnv leaves out what would not be what it was: empty values, which count as not set, and secrets.
func (e Effective) writeEnv(w io.Writer) error {
	var text strings.Builder
	for _, s := range e.Settings {
		switch {
		case s.Redacted:
			fmt.Fprintf(&text, "# %s holds a secret, from %s\n", s.Variable, s.Source)
		case s.Value == "":
			fmt.Fprintf(&text, "# %s is empty\n", s.Variable)
		default:
			fmt.Fprintf(&text, "%s='%s'\n", s.Variable, strings.ReplaceAll(s.Value, "'", `'\''`))
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
