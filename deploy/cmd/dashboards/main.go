// Command dashboards writes deploy/grafana/dashboards/*.json from what package grafana says of them, or has their queries read or answered.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/triggerd/triggerd/deploy/grafana"
	"github.com/triggerd/triggerd/shared/config"
)

type settings struct {
	dir   string
	rules bool
	try   string
}

// RegisterFlags implements config.Part.
func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.dir, "dir", "deploy/grafana/dashboards", "`directory` to write the dashboards to")
	fs.BoolVar(&s.rules, "rules", false, "print every query as a recording rule instead, for promtool check rules")
	fs.StringVar(&s.try, "try", "", "ask the Prometheus at this `url` every query instead, and say what came")
}

// Validate implements config.Part.
func (s *settings) Validate() error { return nil }

func main() {
	var s settings
	err := config.Load("dashboards", os.Args[1:], nil, os.Stdout, &s)
	if err == nil {
		err = s.run()
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func (s *settings) run() error {
	switch {
	case s.rules:
		return grafana.WriteRules(os.Stdout)
	case s.try != "":
		return grafana.Try(os.Stdout, s.try)
	}
	return grafana.Write(s.dir)
}
