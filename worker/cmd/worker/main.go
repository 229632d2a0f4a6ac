// Command worker owns a share of the partitions of a deployment whose broker runs elsewhere; start as many as there is work for. With a verb it
// looks at the deployment, or decides something about one partition, or asks a worker beside it whether it is ready, and returns.
//
//	worker -nats-url nats://127.0.0.1:4222 -data-dir .data
//	worker inspect -nats-url nats://127.0.0.1:4222
//	worker pause -partition 7 -reason "its disk is being replaced"
//	worker resume -partition 7
//	worker adopt -partition 7 -data-dir .data
//	worker healthcheck -admin-addr 127.0.0.1:9091
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

func main() {
	if code, ok := worker.Command(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	var cfg worker.OwnConfig
	os.Exit(process.Main("worker", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		w, err := worker.New(cfg.Config, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health, Tracer: env.Tracer})
		if err != nil {
			return nil, err
		}
		for path, page := range w.AdminPages() {
			env.Pages.Handle(path, page)
		}
		env.Announce = func() error { _, err := fmt.Printf("ready admin=%s\n", env.Admin); return err }
		return []lifecycle.Part{w.Part()}, nil
	}))
}
