package settings

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

// asChild makes this test binary be a program, so that tests have its arguments, its log and its pages.
const asChild = "BE_PROGRAM"

// child is what the mains of ingress, worker and loadgen are.
func child() int {
	switch os.Getenv(asChild) {
	case "worker":
		var cfg worker.OwnConfig
		return process.Main("worker", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
			w, err := worker.New(cfg.Config, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
			if err != nil {
				return nil, err
			}
			for path, page := range w.AdminPages() {
				env.Pages.Handle(path, page)
			}
			env.Announce = func() error { _, err := fmt.Println("ready", env.Admin); return err }
			return []lifecycle.Part{w.Part()}, nil
		})
	case "ingress":
		var cfg ingress.Config
		return process.Main("ingress", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
			env.Announce = func() error { _, err := fmt.Println("ready", env.Admin); return err }
			deps := ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health}
			return []lifecycle.Part{ingress.Part(cfg, deps, func(string) {})}, nil
		})
	case "loadgen":
		return process.Execute("loadgen", func(context.Context, io.Writer) error { return nil }, &loadgen.Config{})
	}
	return 1
}

// canary is what must be seen nowhere.
const canary = "Kanarienvogel"

// watched is what a process has shown of itself.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func command(name string, w io.Writer, environ []string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asChild+"="+name), environ...)
	cmd.Stdout, cmd.Stderr = w, w
	return cmd
}

// pages are all of the admin port that is there without work.
var pages = []string{"/metrics", "/readyz?verbose", "/livez", "/members", "/partitions?digest=1", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1"}

// A secret that came by a flag, a variable or a file is in no page, no line of the log and no list of settings: while the process runs, loses its broker, and is
// refused.
func TestNothingShowsASecret(t *testing.T) {
	for name, tune := range map[string]func(*server.Options){
		"password": func(o *server.Options) { o.Username, o.Password = "u", canary },
		"token":    func(o *server.Options) { o.Authorization = canary },
	} {
		t.Run(name, func(t *testing.T) {
			srv := natstest.Start(t, natstest.Lazy(), natstest.Closed(), natstest.Tune(tune))
			user := map[string]string{"password": "u:" + canary, "token": canary}[name]
			url := strings.Replace(srv.URL(), "://", "://"+user+"@", 1)
			file := filepath.Join(t.TempDir(), "url")
			if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			small := []string{"-admin-addr", "127.0.0.1:0", "-log-level", "debug", "-triggers-max-bytes", "16MiB", "-events-max-bytes", "16MiB", "-snapshots-max-bytes", "16MiB"}
			work := append(small, "-data-dir", t.TempDir())
			in := append(append(small, find(t, "ingress").least...), "-http-addr", "127.0.0.1:0")
			live(t, srv, "worker", nil, append(work, "-nats-url", url)...)
			live(t, srv, "ingress", []string{"TRIGGERD_NATS_URL_FILE=" + file}, in...)
			refused(t, "worker", append(work, "-nats-url", strings.Replace(url, canary, canary+"x", 1))...)
			listed(t, "worker", []string{"TRIGGERD_NATS_URL=" + url}, 0, work...)
			listed(t, "ingress", nil, 2, "-keys-url", "https://user:"+canary+"@h/?key="+canary)
			listed(t, "ingress", nil, 2, "-nats-url", "://"+canary)
			listed(t, "loadgen", []string{"TRIGGERD_TOKEN=" + canary}, 0)
			listed(t, "loadgen", []string{"TRIGGERD_TOKEN=" + canary}, 2, "-url", "http://u:"+canary+"@h")
		})
	}
}

// live runs a program through a life in which it loses its broker, and reads all that it shows.
func live(t *testing.T, srv *natstest.Server, name string, environ []string, args ...string) {
	t.Helper()
	shown := &watched{}
	cmd := command(name, shown, environ, args...)
	cmd.Stdout = nil
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	var admin string
	if _, err := fmt.Fscanf(bufio.NewReader(stdout), "ready %s\n", &admin); err != nil {
		t.Fatalf("%s is not ready: %v\n%s", name, err, shown.said())
	}
	look := func() {
		for _, page := range pages {
			fetch(t, shown, "http://"+admin+page)
		}
	}
	look()
	srv.Stop()
	natstest.Eventually(t, func() bool { return strings.Contains(shown.said(), "broker connection lost") }, "the loss to be told")
	look()
	srv.Boot()
	natstest.Eventually(t, func() bool { return strings.Contains(shown.said(), "broker connection restored") }, "the connection to be restored")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if !strings.Contains(shown.said(), "settings.nats-url=nats://") {
		t.Errorf("%s does not say what it was told:\n%s", name, shown.said())
	}
	silent(t, name, shown)
}

func fetch(t *testing.T, w io.Writer, url string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	fmt.Fprintf(w, "\n%s %s\n", url, resp.Status)
	io.Copy(w, resp.Body)
}

func refused(t *testing.T, name string, args ...string) {
	t.Helper()
	shown := &watched{}
	if err := command(name, shown, nil, args...).Run(); err == nil || !strings.Contains(shown.said(), "broker refuses this process") {
		t.Errorf("%s with a wrong secret: %v, %s", name, err, shown.said())
	}
	silent(t, name, shown)
}

// listed asks for the settings in each form.
func listed(t *testing.T, name string, environ []string, code int, args ...string) {
	t.Helper()
	for _, verb := range [][]string{{"config"}, {"config", "-format", "env"}, {"config", "-format", "json"}, {"config", "check"}} {
		shown := &watched{}
		cmd := command(name, shown, environ, append(verb, args...)...)
		cmd.Run()
		if have := cmd.ProcessState.ExitCode(); have != code || shown.said() == "" {
			t.Errorf("%s %q: exit code %d, not %d: %s", name, verb, have, code, shown.said())
		}
		silent(t, name, shown)
	}
}

func silent(t *testing.T, name string, shown *watched) {
	t.Helper()
	for line := range strings.Lines(shown.said()) {
		if strings.Contains(line, canary) {
			t.Errorf("%s shows a secret: %s", name, line)
		}
	}
}
