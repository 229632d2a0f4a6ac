package standalone_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/triggerd/triggerd/deploy/standalone"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/natstest"
)

func patience() <-chan time.Time { return time.After(natstest.Patience) }

// output is a standalone's stdout or log.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// instance is a standalone inside of the test.
type instance struct {
	*standalone.Standalone
	t           *testing.T
	dir         string
	stdout, log output
	cancel      context.CancelFunc
	ended       chan error
}

// launch starts one and waits until it is ready.
func launch(t *testing.T, dir string, args ...string) *instance {
	t.Helper()
	in := newInstance(t, dir, args...)
	select {
	case <-in.Ready():
	case err := <-in.ended:
		t.Fatalf("ended before it was ready: %v\n%s", err, in.log.String())
	case <-patience():
		t.Fatalf("not ready\n%s", in.log.String())
	}
	return in
}

func newInstance(t *testing.T, dir string, args ...string) *instance {
	t.Helper()
	var cfg standalone.Config
	if err := config.Load("standalone", flags(dir, args...), nil, io.Discard, &cfg); err != nil {
		t.Fatal(err)
	}
	in := &instance{t: t, dir: dir, ended: make(chan error, 1)}
	in.Standalone = standalone.New(cfg, standalone.Deps{Logger: slog.New(slog.NewTextHandler(&in.log, nil)), Stdout: &in.stdout})
	var ctx context.Context
	ctx, in.cancel = context.WithCancel(t.Context())
	go func() { in.ended <- in.Run(ctx) }()
	t.Cleanup(func() {
		in.cancel()
		select {
		case <-in.ended:
		default:
			in.stop()
		}
		if t.Failed() {
			t.Logf("log:\n%s", in.log.String())
		}
	})
	return in
}

// stop drains it, which must not fail.
func (in *instance) stop() {
	in.t.Helper()
	in.cancel()
	select {
	case err := <-in.ended:
		if err != nil {
			in.t.Errorf("drain: %v", err)
		}
		in.ended <- nil
	case <-patience():
		in.t.Fatal("did not drain")
	}
}

// call makes a request with a token of the demo's account and returns status and body.
func (in *instance) call(method, path, body string) (int, string) {
	in.t.Helper()
	token, err := ingress.IssueToken(ingress.KeysIn(filepath.Join(in.dir, "keys")).Signing, "demo", "trigger runtime", time.Hour)
	if err != nil {
		in.t.Fatal(err)
	}
	return request(in.t, method, "http://"+in.Addrs().HTTP+path, map[string]string{"Authorization": "JWT " + token, "Content-Type": "application/json"}, body)
}

func request(t *testing.T, method, url string, header map[string]string, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// user is what the state says of one.
type user struct {
	ModuleID   int64                      `json:"module_id"`
	CustomVars map[string]json.RawMessage `json:"custom_vars"`
	Version    int                        `json:"version"`
}

func (in *instance) user(id string) (u user) {
	in.t.Helper()
	code, body := in.call(http.MethodGet, "/v1/users/"+id, "")
	if err := json.Unmarshal([]byte(body), &u); code != http.StatusOK || err != nil {
		in.t.Fatalf("read user %s: %d %s", id, code, body)
	}
	return u
}

// trigger sends one and waits until it is applied.
func (in *instance) trigger(body string) {
	in.t.Helper()
	code, answer := in.call(http.MethodPost, "/actionsvc/trigger-response/", body)
	var accepted struct {
		TriggerID string `json:"trigger_id"`
	}
	if err := json.Unmarshal([]byte(answer), &accepted); code != http.StatusOK || err != nil {
		in.t.Fatalf("trigger: %d %s", code, answer)
	}
	if code, answer = in.call(http.MethodGet, "/v1/triggers/"+accepted.TriggerID+"?wait=30s", ""); code != http.StatusOK {
		in.t.Fatalf("wait for %s: %d %s", accepted.TriggerID, code, answer)
	}
}

func TestTriggerIsAppliedAndSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	in := launch(t, dir, "-demo")
	in.trigger(`{"user_id":"alice","module_id":1068935,"is_async":true,"custom_vars":{"order":"A-17","paid":49.90}}`)
	before := in.user("alice")
	if before.ModuleID != 1068935 || before.Version != 2 || string(before.CustomVars["paid"]) != "49.90" {
		t.Errorf("alice is %+v", before)
	}
	in.stop()

	in = launch(t, dir, "-demo") // declaring the demo again must not undo what was done
	after := in.user("alice")
	if after.ModuleID != before.ModuleID || after.Version != before.Version || string(after.CustomVars["paid"]) != "49.90" {
		t.Errorf("alice was %+v and is %+v", before, after)
	}
	in.trigger(`{"user_id":"alice","module_id":656041,"is_async":true}`)
	if u := in.user("alice"); u.ModuleID != 656041 || u.Version != 3 {
		t.Errorf("alice is %+v", u)
	}
}

// What the demo prints is pasted by people who have seen nothing of triggerd yet.
func TestDemoPrintsCommandsThatWork(t *testing.T) {
	in := launch(t, t.TempDir(), "-demo")
	lines := strings.Split(in.stdout.String(), "\n")
	if http, admin := addrs(t, lines[0]+"\n"); http != in.Addrs().HTTP || admin != in.Addrs().Admin {
		t.Errorf("ready line %q, bound to %+v", lines[0], in.Addrs())
	}
	var answers []string
	for _, line := range lines {
		if strings.HasPrefix(line, "curl ") {
			code, body := runCurl(t, line)
			if code != http.StatusOK {
				t.Errorf("%s\nanswers %d %s", line, code, body)
			}
			answers = append(answers, body)
		}
	}
	if len(answers) != 2 || !strings.Contains(answers[0], `"redirect":true`) || !strings.Contains(answers[1], `"user_id":"alice"`) {
		t.Errorf("answers: %q", answers)
	}
}

// runCurl does what curl does with the words of a command, which are quoted with ' or not at all.
func runCurl(t *testing.T, command string) (int, string) {
	t.Helper()
	method, url, body, header := http.MethodGet, "", "", map[string]string{}
	words := split(command)
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-sS":
		case "-X":
			i++
			method = words[i]
		case "-H":
			i++
			name, value, _ := strings.Cut(words[i], ": ")
			header[name] = value
		case "-d":
			i++
			body = words[i]
		default:
			url = words[i]
		}
	}
	return request(t, method, url, header, body)
}

func split(command string) (words []string) {
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

func TestKeysAreMadeOnceAndPrivate(t *testing.T) {
	dir := t.TempDir()
	in := launch(t, dir)
	keys := ingress.KeysIn(filepath.Join(dir, "keys"))
	info, err := os.Stat(keys.Signing)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("signing key: %v, %v", info, err)
	}
	first, err := os.ReadFile(keys.Public)
	if err != nil {
		t.Fatal(err)
	}
	in.stop()
	launch(t, dir)
	if again, err := os.ReadFile(keys.Public); err != nil || !bytes.Equal(first, again) {
		t.Errorf("keys changed: %v", err)
	}
}

func TestDurabilityIsShown(t *testing.T) {
	in := launch(t, t.TempDir())
	if !strings.Contains(in.log.String(), "durability=\"sync always") {
		t.Error("the log does not say it")
	}
	if code, body := request(t, http.MethodGet, "http://"+in.Addrs().Admin+"/readyz?verbose", nil, ""); code != http.StatusOK || !strings.Contains(body, "[+]durability: sync always") {
		t.Errorf("readyz: %d %s", code, body)
	}
	if _, body := request(t, http.MethodGet, "http://"+in.Addrs().Admin+"/metrics", nil, ""); !strings.Contains(body, "\ntriggerd_broker_sync_always 1\n") {
		t.Error("the metric is not there")
	}
}

// Dashboards and alerts of others are made of these names: they must not change.
var promisedMetrics = []string{
	"triggerd_broker_sync_always", "triggerd_build_info", "triggerd_ingress_accepted_total", "triggerd_ingress_requests_total",
	"triggerd_ingress_request_seconds", "triggerd_ingress_unverified_accepts_total", "triggerd_worker_applied_total",
	"triggerd_worker_files_set_aside_total", "triggerd_worker_lag_records", "triggerd_worker_oldest_unapplied_seconds",
	"triggerd_worker_replayed_messages_total", "triggerd_worker_restore_failures_total", "triggerd_worker_restored_bytes_total",
	"triggerd_worker_snapshot_failures_total", "triggerd_worker_snapshots",
}

func TestMetricsAreNamedAndLinted(t *testing.T) {
	in := launch(t, t.TempDir(), "-demo")
	in.trigger(`{"user_id":"alice","module_id":1068935,"is_async":true}`)
	code, text := request(t, http.MethodGet, "http://"+in.Addrs().Admin+"/metrics", nil, "")
	if code != http.StatusOK {
		t.Fatalf("metrics: %d %s", code, text)
	}
	for _, name := range promisedMetrics {
		if !strings.Contains(text, "\n# TYPE "+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
	for _, sample := range []string{"triggerd_ingress_accepted_total 1", "triggerd_worker_applied_total{partition=\"0\"}"} {
		if !strings.Contains(text, "\n"+sample) {
			t.Errorf("%s is missing", sample)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "triggerd_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestDirectoryIsRefusedToASecond(t *testing.T) {
	dir := t.TempDir()
	first := launch(t, dir)
	second := newInstance(t, dir)
	var err error
	select {
	case err = <-second.ended:
		second.ended <- nil
	case <-patience():
		t.Fatal("the second one was not refused")
	}
	if err == nil || !strings.Contains(err.Error(), "is held by process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if code, _ := first.call(http.MethodGet, "/healthz", ""); code != http.StatusOK {
		t.Errorf("the first one answers %d", code)
	}
	first.stop()
	launch(t, dir)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := spawn(t, flags(dir)...)
	second := spawnOnly(t, flags(dir)...)
	if code := second.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if text := second.Stderr.(*strings.Builder).String(); !strings.Contains(text, "held by process "+strconv.Itoa(first.cmd.Process.Pid)) {
		t.Errorf("it says %q", text)
	}
}

// A process of its own lets its heap grow further than Go would; GOGC in its environment says otherwise.
func TestProcessSetsItsCollector(t *testing.T) {
	for gogc, usual := range map[string]bool{"": false, "100": true} {
		t.Setenv("GOGC", gogc)
		p := spawn(t, flags(t.TempDir())...)
		_, text := request(t, http.MethodGet, "http://"+p.admin+"/metrics", nil, "")
		if !strings.Contains(text, "\ngo_gc_gogc_percent ") || strings.Contains(text, "\ngo_gc_gogc_percent 100\n") != usual {
			t.Errorf("GOGC=%q: not as it should be", gogc)
		}
		p.terminate()
	}
}

func TestSignalsDrain(t *testing.T) {
	dir := t.TempDir()
	if code := spawn(t, flags(dir)...).terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	launch(t, dir)
}

func TestWrongSettingsTouchNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := spawnOnly(t, flags(dir, "-partitions", "0", "-htp-addr", ":1")...)
	if code := cmd.ProcessState.ExitCode(); code != 2 {
		t.Errorf("exit code %d", code)
	}
	text := cmd.Stderr.(*strings.Builder).String()
	for _, want := range []string{"partitions 0", "unknown flag -htp-addr: did you mean -http-addr?"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory: %v", err)
	}
}
