package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/directory"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
)

// The fakes stand for the interfaces of this package alone, so that each of their errors can be had at will. That the real ones
// behave like this is shown where they run against a real broker.

// fakeGate knows tokens by name: the words after the account are its scopes, as in "demo:trigger,admin".
type fakeGate struct{}

func (fakeGate) Verify(authorization string) (auth.Identity, error) {
	token, ok := strings.CutPrefix(authorization, "JWT ")
	account, scopes, ok2 := strings.Cut(token, ":")
	if !ok || !ok2 {
		return auth.Identity{}, auth.ErrToken
	}
	return auth.Identity{Account: account, Scopes: auth.ParseScopes(strings.ReplaceAll(scopes, ",", " "))}, nil
}

// appended is one record that reached the fake log.
type appended struct {
	partition int
	account   string
	line      string
}

type fakeAppender struct {
	mu      sync.Mutex
	err     error
	entered chan struct{} // if set, told of every append
	release chan struct{} // if set, what an append waits for
	lines   []appended
	bulk    int  // appended in bulk
	silent  bool // keep nothing (benchmarks)
}

func (f *fakeAppender) Append(ctx context.Context, p int, account string, line []byte) (record.Position, error) {
	if f.silent {
		return record.Position{Seq: 10482, Index: 3}, nil
	}
	if f.entered != nil {
		f.entered <- struct{}{}
	}
	if f.release != nil {
		<-f.release
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return record.Position{}, f.err
	}
	f.lines = append(f.lines, appended{p, account, string(line)})
	return record.Position{Seq: uint64(10481 + len(f.lines)), Index: 3}, nil
}

func (f *fakeAppender) AppendBulk(ctx context.Context, p int, account string, line []byte) (record.Position, error) {
	pos, err := f.Append(ctx, p, account, line)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bulk++
	return pos, err
}

func (f *fakeAppender) all() []appended {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

type fakeUsers struct {
	mu       sync.Mutex
	verdicts map[string]admission.Verdict // by account/user; others are known
	priors   map[string]admission.Prior   // by account/user/key; others are new
	learned  []string
	forgot   []string
}

func (f *fakeUsers) User(ctx context.Context, p int, account, user string) admission.Verdict {
	if v, ok := f.verdicts[account+"/"+user]; ok {
		return v
	}
	return admission.Known
}

func (f *fakeUsers) Keyed(ctx context.Context, p int, account, user, key string) (admission.Verdict, admission.Prior) {
	prior, ok := f.priors[account+"/"+user+"/"+key]
	if !ok {
		prior.Final = true
	}
	return f.User(ctx, p, account, user), prior
}

func (f *fakeUsers) Learn(account, user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.learned = append(f.learned, account+"/"+user)
}

func (f *fakeUsers) Forget(account, user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgot = append(f.forgot, account+"/"+user)
}

type fakeDirectory struct {
	err  error
	bots map[string][]directory.Module // by account/bot
}

func (f *fakeDirectory) Bot(ctx context.Context, account string, module int64) (string, bool, error) {
	if f.err != nil {
		return "", false, f.err
	}
	for key, modules := range f.bots {
		owner, bot, _ := strings.Cut(key, "/")
		if owner == account && slices.ContainsFunc(modules, func(m directory.Module) bool { return m.ID == module }) {
			return bot, true, nil
		}
	}
	return "", false, nil
}

func (f *fakeDirectory) Declare(ctx context.Context, account, bot string, modules []directory.Module) error {
	if f.err != nil {
		return f.err
	}
	f.bots[account+"/"+bot] = modules
	return nil
}

func (f *fakeDirectory) Modules(ctx context.Context, account, bot string) ([]directory.Module, bool, error) {
	modules, ok := f.bots[account+"/"+bot]
	return modules, ok, f.err
}

type fakeState struct {
	ask     func(p int, req statequery.Request) (statequery.Reply, error)
	outcome func(ctx context.Context, account string, p int, id string, wait time.Duration) (*statequery.Outcome, error)
}

func (f *fakeState) Ask(ctx context.Context, p int, req statequery.Request) (statequery.Reply, error) {
	if f.ask == nil {
		return statequery.Reply{}, statequery.ErrSilent
	}
	return f.ask(p, req)
}

func (f *fakeState) Outcome(ctx context.Context, account string, p int, id string, wait time.Duration) (*statequery.Outcome, error) {
	if f.outcome == nil {
		return nil, statequery.ErrSilent
	}
	return f.outcome(ctx, account, p, id, wait)
}

type fakeLog struct {
	err      error
	messages map[uint64]*jetstream.RawStreamMsg
}

func (f *fakeLog) Message(ctx context.Context, p int, seq uint64) (*jetstream.RawStreamMsg, error) {
	if f.err != nil {
		return nil, f.err
	}
	if m, ok := f.messages[seq]; ok {
		return m, nil
	}
	return nil, jetstream.ErrMsgNotFound
}

// world is an API over fakes: account demo with the bot shop and its Modules, and account other with one of its own.
type world struct {
	t         testing.TB
	api       *API
	appender  *fakeAppender
	users     *fakeUsers
	directory *fakeDirectory
	state     *fakeState
	log       *fakeLog
}

var errFake = errors.New("fake failure")

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, appender: &fakeAppender{}, state: &fakeState{}, log: &fakeLog{messages: map[uint64]*jetstream.RawStreamMsg{}},
		users: &fakeUsers{verdicts: map[string]admission.Verdict{"demo/nobody": admission.Unknown}},
		directory: &fakeDirectory{bots: map[string][]directory.Module{
			"demo/shop":   {{ID: 21890, Name: "Waiting for payment"}, {ID: 1068935, Name: "Payment received"}},
			"other/store": {{ID: 555, Name: "Theirs"}},
		}},
	}
	cfg := Config{Partitions: 8}
	if change != nil {
		change(&cfg)
	}
	api, err := New(cfg, Deps{
		Gate: fakeGate{}, Appender: w.appender, Users: w.users, Directory: w.directory, State: w.state, Log: w.log,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.api = api
	return w
}

// httpRequest makes a request of demo's, who may do everything. Pairs of header override; an empty value removes.
func httpRequest(method, path, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "JWT demo:trigger,runtime,admin")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Del(header[i])
		if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return r
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request through the handler, and holds both it and the answer to the OpenAPI document.
func (w *world) do(method, path, body string, header ...string) answer {
	w.t.Helper()
	return w.send(httpRequest(method, path, body, header...), body)
}

func (w *world) send(r *http.Request, body string) answer {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.api.Handler().ServeHTTP(rec, r)
	a := answer{rec.Code, rec.Result().Header, rec.Body.String()}
	checkContract(w.t, r, body, a)
	return a
}

func (a answer) want(t testing.TB, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("answer %d %s\n  want %d %s", a.status, a.body, status, body)
	}
}

// answerOf is do for requests that the document does not describe.
func answerOf(w *world, r *http.Request) answer {
	rec := httptest.NewRecorder()
	w.api.Handler().ServeHTTP(rec, r)
	return answer{rec.Code, rec.Result().Header, rec.Body.String()}
}
