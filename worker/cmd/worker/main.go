// Command worker owns a share of the partitions of a deployment whose broker runs elsewhere; start as many as there is work for. With a verb it
// looks at the deployment, or decides something about one partition, and returns.
//
//	worker -nats-url nats://127.0.0.1:4222 -data-dir .data
//	worker inspect -nats-url nats://127.0.0.1:4222
//	worker pause -partition 7 -reason "its disk is being replaced"
//	worker resume -partition 7
//	worker adopt -partition 7 -data-dir .data
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

// settings are the worker's own and its directory, which standalone has for all of its parts.
type settings struct{ worker.Config }

func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	s.Config.RegisterFlags(fs)
	fs.StringVar(&s.DataDir, "data-dir", ".data", "`directory` of the partitions' files")
}

func (s *settings) Validate() error {
	if s.DataDir == "" {
		return errors.Join(errors.New("-data-dir is empty"), s.Config.Validate())
	}
	return s.Config.Validate()
}

func main() {
	if code, ok := worker.Command(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	var cfg settings
	os.Exit(process.Main("worker", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		w, err := worker.New(cfg.Config, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
		if err != nil {
			return nil, err
		}
		for path, page := range w.AdminPages() {
			env.Pages.Handle(path, page)
		}
		announce := lifecycle.Part{Name: "announce", Run: func(ctx context.Context, ready func()) error {
			fmt.Printf("ready admin=%s\n", env.Admin)
			ready()
			<-ctx.Done()
			return nil
		}}
		return []lifecycle.Part{w.Part(), announce}, nil
	}))
}
