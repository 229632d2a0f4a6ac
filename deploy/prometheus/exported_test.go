package prometheus

import (
	"context"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

// described is what a metric's description says of itself.
var described = regexp.MustCompile(`fqName: "(triggerd_\w+)", help: .*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}`)

// exportedMetrics are the names, with their labels, of all that a process with an ingress and a worker in it registers.
func exportedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	var cfg process.Config
	var in ingress.Config
	dir := t.TempDir()
	if err := ingress.EnsureKeys(dir); err != nil {
		t.Fatal(err)
	}
	if err := config.Load("test", []string{"-admin-addr", "127.0.0.1:0", "-http-addr", "127.0.0.1:0", "-keys-file", ingress.KeysIn(dir).Public}, nil, t.Output(), &cfg, &in); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reg := make(chan *prometheus.Registry, 1)
	program := process.Program{
		Name: "test", Sync: process.SyncIgnore, Remote: &process.Remote{},
		Dial: func(context.Context) (*nats.Conn, error) { return srv.Connect(), nil },
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			w, err := worker.New(worker.Config{DataDir: filepath.Join(dir, "worker")}, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
			if err != nil {
				return nil, err
			}
			deps := ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health}
			known := lifecycle.Part{Name: "registry", Run: func(ctx context.Context, ready func()) error {
				reg <- env.Registry
				ready()
				<-ctx.Done()
				return nil
			}}
			return []lifecycle.Part{w.Part(), ingress.Part(in, deps, func(string) {}), known}, nil
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	var all *prometheus.Registry
	select {
	case all = <-reg:
	case err := <-ended:
		t.Fatalf("process ended: %v", err)
	}
	names := describe(all)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(names) < 60 {
		t.Fatalf("only %d metrics: %v", len(names), names)
	}
	return names
}

// describe names also those of which there is no series yet.
func describe(reg *prometheus.Registry) map[string][]string {
	descs := make(chan *prometheus.Desc)
	go func() { reg.Describe(descs); close(descs) }()
	names := map[string][]string{}
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			continue
		}
		labels := []string{}
		for one := range strings.SplitSeq(m[2], ",") {
			if name, _, ok := strings.Cut(one, "="); ok {
				labels = append(labels, name)
			}
		}
		if m[3] != "" {
			labels = append(labels, strings.Split(m[3], ",")...)
		}
		names[m[1]] = labels
	}
	return names
}
