package loadgen

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
)

// fake keeps the promises of triggerd, in memory, as far as loadgen sees them, and breaks one where a test says so.
type fake struct {
	*httptest.Server

	mu       sync.Mutex
	users    map[string]*userState
	keys     map[string]record.ID // by user and key
	outcomes map[string]fate
	seq      uint64
	requests int

	// sabotage looks at each trigger; nth counts those that are not repeats, from 1.
	sabotage func(f *fake, nth uint64, t *fakeTrigger)
	// fail looks at each request for a trigger before it is read; true: it has answered, or not.
	fail func(n int, w http.ResponseWriter) bool
	// replay changes the id that a repeat is answered with.
	replay func(record.ID) record.ID
	// foreign says that it is somebody else's.
	foreign bool
	// blind accepts repeats under ids of their own, as if nobody could say that they are.
	blind bool
}

// fakeTrigger is one on its way into the state.
type fakeTrigger struct {
	user    string
	seq     uint64
	id      record.ID
	times   int  // how often it is applied
	early   bool // before the one that came before
	outcome string
}

type fakeBody struct {
	User string `json:"user_id"`
	Key  string `json:"idempotency_key"`
	Vars struct {
		Seq uint64 `json:"seq"`
	} `json:"custom_vars"`
}

func newFake(t *testing.T) *fake {
	f := &fake{users: map[string]*userState{}, keys: map[string]record.ID{}, outcomes: map[string]fate{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/bots/{bot}/modules", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/bots/{bot}/modules", func(w http.ResponseWriter, _ *http.Request) {
		if f.foreign {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	mux.HandleFunc("POST /v1/users", f.importUsers)
	mux.HandleFunc("GET /v1/users/{user}", f.getUser)
	mux.HandleFunc("GET /v1/triggers/{id}", f.getTrigger)
	mux.HandleFunc("POST /actionsvc/trigger-response/", f.trigger)
	mux.HandleFunc("POST /actionsvc/trigger-response/batch/", f.batch)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) importUsers(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := json.NewDecoder(r.Body)
	for in.More() {
		var b fakeBody
		if in.Decode(&b) != nil {
			return
		}
		f.users[b.User] = &userState{Version: 1}
	}
	io.WriteString(w, `{"errors":[]}`)
}

func (f *fake) getUser(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.users[r.PathValue("user")]
	if u == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(u)
}

func (f *fake) getTrigger(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.outcomes[r.PathValue("id")]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(o)
}

func (f *fake) failed(w http.ResponseWriter) bool {
	f.requests++
	return f.fail != nil && f.fail(f.requests, w)
}

func (f *fake) trigger(w http.ResponseWriter, r *http.Request) {
	var b fakeBody
	if json.NewDecoder(r.Body).Decode(&b) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed(w) {
		return
	}
	id, replayed := f.accept(b, r.Header.Get("Idempotency-Key"))
	if replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	fmt.Fprintf(w, `{"message":"1","error":[],"trigger_id":"%s","redirect":true}`, id)
}

func (f *fake) batch(w http.ResponseWriter, r *http.Request) {
	var list []fakeBody
	if json.NewDecoder(r.Body).Decode(&list) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed(w) {
		return
	}
	var items []string
	for _, b := range list {
		id, _ := f.accept(b, b.Key)
		items = append(items, fmt.Sprintf(`{"status":200,"message":"1","error":[],"trigger_id":"%s","redirect":true}`, id))
	}
	io.WriteString(w, "["+strings.Join(items, ",")+"]")
}

// accept takes one in, under mu.
func (f *fake) accept(b fakeBody, key string) (id record.ID, replayed bool) {
	first, known := f.keys[b.User+" "+key]
	known = known && key != ""
	if known && !f.blind {
		if f.replay != nil {
			return f.replay(first), true
		}
		return first, true
	}
	f.seq++
	id = record.ID{Partition: 1, Position: record.Position{Seq: f.seq * 10}}
	if known {
		f.outcomes[id.String()] = fate{TriggerID: id.String(), Status: "duplicate", DuplicateOf: first.String()}
		return id, false
	}
	if key != "" {
		f.keys[b.User+" "+key] = id
	}
	t := &fakeTrigger{user: b.User, seq: b.Vars.Seq, id: id, times: 1, outcome: "applied"}
	if f.sabotage != nil {
		f.sabotage(f, f.seq, t)
	}
	f.apply(t)
	return id, false
}

func (f *fake) apply(t *fakeTrigger) {
	u := f.users[t.user]
	for range t.times {
		u.Version++
		show(u, t.id)
	}
	if n := len(u.Changes); t.early && n > 1 {
		u.Changes[n-1], u.Changes[n-2] = u.Changes[n-2], u.Changes[n-1]
	} else if t.times > 0 {
		u.CustomVars.Seq = t.seq
	}
	f.outcomes[t.id.String()] = fate{TriggerID: t.id.String(), Status: t.outcome, UserVersion: u.Version}
}

// show adds a change as the server does.
func show(s *userState, id record.ID) {
	s.Changes = append(s.Changes, struct {
		TriggerID string `json:"trigger_id"`
	}{id.String()})
	if len(s.Changes) > keptChanges {
		s.Changes = s.Changes[1:]
	}
}
