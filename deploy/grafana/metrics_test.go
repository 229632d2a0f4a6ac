package grafana

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every metric that a query names is one that a real ingress or a real worker shows, with the labels that the query names: a query about anything else is an empty
// panel, which looks like peace. Two workers are started, since some are shown by standbys alone.
func TestMetricsExist(t *testing.T) {
	wanted := map[string]string{} // name → where
	each(func(d *dashboard, p *panel, expr string) error {
		for name := range selected(expr) {
			wanted[name] = d.name + ", " + p.title
		}
		return nil
	})
	if len(wanted) < 20 {
		t.Fatalf("only %d metrics found in the queries: %v", len(wanted), wanted)
	}
	recorded := rules(t, "record")
	f := newFleet(t)
	var shown map[string]map[string]bool
	var missing []string
	natstest.Eventually(t, func() bool {
		shown, missing = f.gather(t), missing[:0]
		for name, at := range wanted {
			if recorded[name] == "" && shown[name] == nil {
				missing = append(missing, name+" ("+at+")")
			}
		}
		return len(missing) == 0
	}, "every metric of the queries is shown by some process or made by a rule: missing %q", &missing)
	each(func(d *dashboard, p *panel, expr string) error {
		for name, labels := range selected(expr) {
			for _, l := range labels {
				if recorded[name] == "" && !shown[name][l] && l != "job" && l != "instance" {
					t.Errorf("%s, %s: %s has no label %s", d.name, p.title, name, l)
				}
			}
		}
		return nil
	})
}

var (
	selector = regexp.MustCompile(`(triggerd_\w+|triggerd:[\w:]+|process_\w+|go_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`(?:by|on) \(([^)]*)\)`)
)

// selected finds the metrics in a query, each with the labels that are asked of it: those of its braces, and those that the query groups by.
func selected(expr string) map[string][]string {
	out := map[string][]string{}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		labels := []string{}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, l[1])
		}
		for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
			labels = append(labels, regexp.MustCompile(`\w+`).FindAllString(by[1], -1)...)
		}
		out[m[1]] = append(out[m[1]], labels...)
	}
	return out
}

func TestSelected(t *testing.T) {
	got := fmt.Sprint(selected(`sum by (le, class) (rate(triggerd_a_bucket{job=~".+",answer="x"}[5m])) / triggerd_b{c!="d"} + triggerd:slo:ratio5m`))
	want := "map[triggerd:slo:ratio5m:[le class] triggerd_a_bucket:[job answer le class] triggerd_b:[c le class]]"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// fleet is an ingress and two workers, as processes but for the process.
type fleet struct{ registries []*prometheus.Registry }

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f, srv, files := &fleet{}, natstest.Start(t), t.TempDir()
	if err := ingress.EnsureKeys(files); err != nil {
		t.Fatal(err)
	}
	keys := ingress.KeysIn(files)
	f.startWorker(t, srv, "-data-dir", filepath.Join(files, "a"))
	f.startWorker(t, srv, "-data-dir", filepath.Join(files, "b"))
	token, err := ingress.IssueToken(keys.Signing, "demo", "trigger runtime", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.send(t, f.startIngress(t, srv, keys.Public), token)
	return f
}

// send makes a user and one trigger for it, on its own and in a batch: what is counted by what came is shown from then on.
func (f *fleet) send(t *testing.T, addr, token string) {
	t.Helper()
	trigger := `{"user_id":"alice","module_id":null,"custom_vars":{"n":1}}`
	for _, c := range [][3]string{
		{http.MethodPut, "/v1/bots/shop/modules", `{"modules":[{"id":1,"name":"Hello"}]}`},
		{http.MethodPut, "/v1/users/alice", `{"bot_id":"shop"}`},
		{http.MethodPost, "/actionsvc/trigger-response/", trigger},
		{http.MethodPost, "/actionsvc/trigger-response/batch/", "[" + trigger + "]"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c[0], "http://"+addr+c[1], strings.NewReader(c[2]))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "JWT "+token)
		req.Header.Set("Content-Type", "application/json")
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s: %d %s", c[1], resp.StatusCode, body)
		}
	}
}

// gather is the labels of every metric that is shown, by its name in a query: a histogram has three of them.
func (f *fleet) gather(t *testing.T) map[string]map[string]bool {
	t.Helper()
	out := map[string]map[string]bool{}
	add := func(name string, m *dto.Metric, more ...string) {
		if out[name] == nil {
			out[name] = map[string]bool{}
		}
		for _, l := range m.GetLabel() {
			out[name][l.GetName()] = true
		}
		for _, l := range more {
			out[name][l] = true
		}
	}
	for _, reg := range f.registries {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if m.GetHistogram() == nil {
					add(family.GetName(), m)
					continue
				}
				add(family.GetName()+"_bucket", m, "le")
				add(family.GetName()+"_sum", m)
				add(family.GetName()+"_count", m)
			}
		}
	}
	return out
}

func (f *fleet) startIngress(t *testing.T, srv *natstest.Server, keys string) (addr string) {
	var cfg ingress.Config
	f.start(t, srv, "ingress", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		deps := ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health}
		return []lifecycle.Part{ingress.Part(cfg, deps, func(bound string) { addr = bound })}, nil
	}, "-http-addr", "127.0.0.1:0", "-keys-file", keys, "-check-timeout", "20s", "-append-timeout", "20s", "-http-drain-timeout", "1m")
	return addr
}

type workerSettings struct{ worker.Config }

func (s *workerSettings) RegisterFlags(fs *flag.FlagSet) {
	s.Config.RegisterFlags(fs)
	fs.StringVar(&s.DataDir, "data-dir", "", "`directory` of the partitions' files")
}

func (f *fleet) startWorker(t *testing.T, srv *natstest.Server, args ...string) {
	var cfg workerSettings
	f.start(t, srv, "worker", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		w, err := worker.New(cfg.Config, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
		if err != nil {
			return nil, err
		}
		return []lifecycle.Part{w.Part()}, nil
	}, append(args, "-checkpoint-every", "100ms", "-snapshot-every", "1s")...)
}

// start runs a member until the test ends, and waits until it is ready.
func (f *fleet) start(t *testing.T, srv *natstest.Server, name string, settings config.Part, parts func(*process.Env) ([]lifecycle.Part, error), args ...string) {
	t.Helper()
	var cfg process.Config
	var remote process.Remote
	args = append(args, "-nats-url", srv.URL(), "-admin-addr", "127.0.0.1:0", "-triggers-max-bytes", "64MiB", "-events-max-bytes", "64MiB")
	if err := config.Load(name, args, nil, io.Discard, settings, &cfg, &remote); err != nil {
		t.Fatal(err)
	}
	log, ready, ended := slog.New(slog.DiscardHandler), make(chan struct{}), make(chan error, 1)
	program := process.Program{Name: name, Sync: process.SyncDeclared, // the test's broker does not say
		Dial: func(ctx context.Context) (*nats.Conn, error) { return remote.Dial(ctx, name, log) },
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			f.registries = append(f.registries, env.Registry)
			list, err := parts(env)
			return append(list, lifecycle.Part{Name: "announce", Run: func(ctx context.Context, next func()) error {
				next()
				close(ready)
				<-ctx.Done()
				return nil
			}}), err
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- program.Run(ctx, cfg, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("drain %s: %v", name, err)
		}
	})
	select {
	case <-ready:
	case <-time.After(natstest.Patience):
		t.Fatalf("%s is not ready", name)
	}
}
