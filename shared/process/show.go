package process

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/triggerd/triggerd/shared/config"
)

// The verbs that every program has.
const (
	configVerb = "config"
	checkVerb  = "check"
)

// showConfig is the verb config: it shows what every setting is and where it comes from. With check it says only whether a start would take them. It reads the
// files that are named and touches nothing else. The exit code is that of a start: 2 if something is wrong.
func showConfig(name string, args, environ []string, stdout, stderr io.Writer, settings []config.Part) int {
	check := len(args) > 0 && args[0] == checkVerb
	shown := &form{}
	if check {
		args, name = args[1:], name+" "+configVerb+" "+checkVerb
	} else {
		name, settings = name+" "+configVerb, append([]config.Part{shown}, settings...)
	}
	told, err := config.Read(name, args, environ, stdout, settings...)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	for _, warning := range told.Warnings {
		fmt.Fprintln(stderr, "warning: "+warning)
	}
	for _, variable := range told.Ignored {
		fmt.Fprintln(stderr, "ignored: "+variable)
	}
	code := 0
	if err != nil {
		fmt.Fprintln(stderr, err)
		code = exitWrong
	}
	if check {
		if err != nil {
			return code
		}
		if _, err := fmt.Fprintf(stdout, "settings are right: %s\n", count(told)); err != nil {
			return exitFailed
		}
		return code
	}
	if err := told.Without(formFlag).Write(stdout, shown.Form); err != nil {
		return exitFailed
	}
	return code
}

func count(told config.Effective) string {
	given := 0
	for _, s := range told.Settings {
		if s.Given() {
			given++
		}
	}
	return fmt.Sprintf("%d given, %d by default", given, len(told.Settings)-given)
}

const formFlag = "format"

// form is the setting of the verb itself.
type form struct{ config.Form }

func (f *form) RegisterFlags(fs *flag.FlagSet) {
	f.Form = config.FormText
	fs.Var(&f.Form, formFlag, "`form` in which settings are shown: text, env (an environment file) or json")
}

func (f *form) Validate() error { return nil }
