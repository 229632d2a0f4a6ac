package process_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
)

func TestMain(m *testing.M) {
	natstest.BeServer()
	goleak.VerifyTestMain(m)
}

func settings(t *testing.T, args ...string) (cfg process.Config, remote process.Remote) {
	t.Helper()
	cfg, remote, _ = allSettings(t, args...)
	return cfg, remote
}

func allSettings(t *testing.T, args ...string) (cfg process.Config, remote process.Remote, rule process.SyncRule) {
	t.Helper()
	args = append([]string{"-admin-addr", "127.0.0.1:0", "-partitions", "2", "-triggers-max-bytes", "16MiB", "-events-max-bytes", "16MiB"}, args...)
	if err := config.Load("test", args, nil, io.Discard, &cfg, &remote, &rule); err != nil {
		t.Fatal(err)
	}
	return cfg, remote, rule
}

// run starts a program and returns what ends it.
func run(t *testing.T, p process.Program, cfg process.Config) (cancel func(), ended <-chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	return stop, done
}

func readyz(addr string) (int, string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/readyz?verbose")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func TestProgramConnectsEnsuresAndDrains(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	cfg, remote := settings(t, "-nats-url", srv.URL())
	started, admin, announced := make(chan struct{}), "", 0
	program := process.Program{
		Name: "test",
		Dial: func(ctx context.Context) (*nats.Conn, error) {
			return remote.Dial(ctx, "test", slog.New(slog.DiscardHandler))
		},
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			admin = env.Admin
			if n := env.Broker.Partitions(); n != 2 {
				t.Errorf("%d partitions", n)
			}
			env.Announce = func() error {
				announced, _ = readyz(admin)
				close(started)
				return nil
			}
			env.Pages.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {})
			if code, body := readyz(admin); code != http.StatusServiceUnavailable || !strings.Contains(body, "[-]start: starting") {
				t.Errorf("before its parts run: %d %s", code, body)
			}
			return []lifecycle.Part{{Name: "part", Run: func(ctx context.Context, ready func()) error {
				ready()
				<-ctx.Done()
				if code, body := readyz(admin); code != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
					t.Errorf("while its parts stop: %d %s", code, body)
				}
				return nil
			}}}, nil
		},
	}
	cancel, ended := run(t, program, cfg)
	<-started
	if announced != http.StatusOK { // or whoever waits for the ready line finds a process that is not
		t.Errorf("when it announced itself /readyz answered %d", announced)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Nobody has to start a broker first, and a process that waits for one can be stopped.
func TestProgramWaitsForItsBroker(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	cfg, remote := settings(t, "-nats-url", srv.URL())
	srv.Stop()
	dialled, running := make(chan struct{}), make(chan struct{})
	program := process.Program{
		Name: "test",
		Dial: func(ctx context.Context) (*nats.Conn, error) {
			close(dialled)
			return remote.Dial(ctx, "test", slog.New(slog.DiscardHandler))
		},
		Parts: func(*process.Env) ([]lifecycle.Part, error) { close(running); return nil, nil },
	}
	cancel, ended := run(t, program, cfg)
	<-dialled
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stopped while waiting: %v", err)
	}

	dialled = make(chan struct{})
	cancel, ended = run(t, program, cfg)
	<-dialled
	srv.Boot()
	<-running
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestProgramFailsWithItsParts(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	cfg, remote := settings(t, "-nats-url", srv.URL())
	broken := errors.New("broken")
	_, ended := run(t, process.Program{
		Name: "test",
		Dial: func(ctx context.Context) (*nats.Conn, error) {
			return remote.Dial(ctx, "test", slog.New(slog.DiscardHandler))
		},
		Parts: func(*process.Env) ([]lifecycle.Part, error) { return nil, broken },
	}, cfg)
	if err := <-ended; !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestConfigDefaultsAreValid(t *testing.T) {
	cfg, remote := settings(t)
	if err := errors.Join(cfg.Validate(), remote.Validate()); err != nil {
		t.Error(err)
	}
	if cfg.Deployment.Limits.OutcomesKeep != time.Hour.Milliseconds() || cfg.Deployment.Limits.Machine != 1 {
		t.Errorf("limits %+v", cfg.Deployment.Limits)
	}
}

func TestConfigTellsAllFaults(t *testing.T) {
	var cfg process.Config
	var remote process.Remote
	err := config.Load("test", []string{"-partitions", "0", "-replicas", "2", "-max-user-bytes", "0", "-max-pending", "0", "-outcomes-keep", "1us",
		"-log-format", "xml", "-watchdog-after", "1s", "-nats-url", ""}, nil, io.Discard, &cfg, &remote)
	for _, want := range []string{"partitions 0", "replicas 2", "max-user-bytes", "max-pending", "outcomes-keep", "log-format", "watchdog-after", "nats-url"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
}

func TestOutcomesKeepIsADuration(t *testing.T) {
	cfg, _ := settings(t, "-outcomes-keep", "90m")
	if cfg.Deployment.Limits.OutcomesKeep != 90*60*1000 {
		t.Errorf("got %d ms", cfg.Deployment.Limits.OutcomesKeep)
	}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	cfg.RegisterFlags(fs)
	if got := fs.Lookup("outcomes-keep").DefValue; got != "1h0m0s" {
		t.Errorf("default is shown as %q", got)
	}
}
