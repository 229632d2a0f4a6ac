package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
)

// Exit codes.
const (
	exitFailed = 1
	exitWrong  = 2 // settings, before anything was touched
)

// Main is the whole of a binary that connects to a broker elsewhere: it loads own, runs the parts until the first signal and
// returns the exit code. A second signal ends the process at once. The process's arguments, environment and
// outputs are used.
func Main(name string, own config.Part, parts func(env *Env) ([]lifecycle.Part, error)) int {
	var all settings
	cfg, remote, sync := &all.cfg, &all.remote, &all.sync
	return Execute(name, func(ctx context.Context, stderr io.Writer) error {
		log := cfg.Log.Logger(stderr)
		dial := func(ctx context.Context) (*nats.Conn, error) { return remote.Dial(ctx, name, log) }
		return Program{Name: name, Dial: dial, Parts: parts, Sync: *sync, Remote: remote}.Run(ctx, *cfg, log)
	}, all.with(own)...)
}

// settings are those of a process that connects to a broker elsewhere.
type settings struct {
	cfg    Config
	remote Remote
	sync   SyncRule
}

func (s *settings) with(own config.Part) []config.Part {
	return []config.Part{own, &s.cfg, &s.remote, &s.sync, &agreement{own: own, with: &s.cfg}}
}

// Parts are all settings of a binary whose own Main is given.
func Parts(own config.Part) []config.Part { return new(settings).with(own) }

// Execute loads the settings, calls run with a context that ends with the first signal, and turns what it returns into an exit code: 0,
// 1 for a failure, 2 for settings that are wrong. If the process's arguments begin with config it shows the settings instead.
func Execute(name string, run func(ctx context.Context, stderr io.Writer) error, settings ...config.Part) int {
	if len(os.Args) > 1 && os.Args[1] == configVerb {
		return showConfig(name, os.Args[2:], os.Environ(), os.Stdout, os.Stderr, settings)
	}
	switch err := config.Load(name, os.Args[1:], os.Environ(), os.Stdout, settings...); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return exitWrong
	}
	useThreads()
	useCollector()
	ctx, stop := lifecycle.Signals(context.Background())
	defer stop()
	if err := run(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, name+": "+strings.TrimPrefix(err.Error(), name+": "))
		return exitFailed
	}
	return 0
}

// Fitting are settings that may contradict those of every process.
type Fitting interface{ Fit(Config) error }

// agreement is what a program's own settings have to say of the others.
type agreement struct {
	own  config.Part
	with *Config
}

func (a *agreement) RegisterFlags(*flag.FlagSet) {}

func (a *agreement) Validate() error {
	if own, ok := a.own.(Fitting); ok {
		return own.Fit(*a.with)
	}
	return nil
}

// say writes what a process was told into its log, once.
func say(log *slog.Logger, name string, told config.Effective) {
	if told.Program == "" {
		return
	}
	log.Info("starts; what is not named here is as "+name+" config shows it", "settings", told)
	for _, variable := range told.Ignored {
		log.Info("variable of another program, ignored", "variable", variable)
	}
	for _, warning := range told.Warnings {
		log.Warn("setting may not be what is meant", "cause", warning)
	}
}
