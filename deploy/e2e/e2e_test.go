package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/shared/natstest"
)

const (
	jsonMedia  = "application/json"
	linesMedia = "application/x-ndjson"
	modules    = `{"modules":[{"id":7,"name":"Seven"}]}`
)

func (f *fleet) declare(to *member) {
	f.t.Helper()
	if code, _, answer := f.call(to, http.MethodPut, "/v1/bots/bot/modules", jsonMedia, modules); code != http.StatusOK {
		f.t.Fatalf("declare modules: %d %s", code, answer)
	}
}

// A user whose registration was answered by one ingress must be known to the other, whether or not the worker has applied it: an import is answered
// when it is in the log. And the Module, when it was declared through the other.
func TestRegisteredHereIsKnownThere(t *testing.T) {
	f := newFleet(t)
	f.worker()
	a, b := f.ingress(), f.ingress()
	f.declare(a)
	const users, parallel = 1000, 8
	var wg sync.WaitGroup
	for first := range parallel {
		wg.Go(func() {
			for n := first; n < users; n += parallel {
				user := fmt.Sprintf("user-%d", n)
				line := fmt.Sprintf(`{"user_id":%q,"bot_id":"bot","module_id":7}`, user)
				if code, _, answer := f.call(a, http.MethodPost, "/v1/users", linesMedia, line); code != http.StatusOK {
					t.Errorf("import %s: %d %s", user, code, answer)
				}
				body := fmt.Sprintf(`{"user_id":%q,"module_id":7,"is_async":true}`, user)
				if code, _, answer := f.call(b, http.MethodPost, "/actionsvc/trigger-response", jsonMedia, body); code != http.StatusOK {
					t.Errorf("trigger %s: %d %s", user, code, answer)
				}
			}
		})
	}
	wg.Wait()
	if code, _, answer := f.call(b, http.MethodPost, "/actionsvc/trigger-response", jsonMedia, `{"user_id":"nobody","module_id":7}`); code != http.StatusBadRequest {
		t.Errorf("a stranger: %d %s", code, answer)
	}
}

// drive runs the load in the background; the returned function ends it.
func drive(t *testing.T, session *loadgen.Session) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	driven := make(chan struct{})
	go func() { defer close(driven); session.Drive(ctx) }()
	return func() { cancel(); <-driven }
}

// reached waits until the session has that many accepted triggers more.
func reached(t *testing.T, session *loadgen.Session, more uint64) {
	t.Helper()
	goal := session.Accepted() + more
	natstest.Eventually(t, func() bool { return session.Accepted() >= goal }, "more triggers to be accepted")
}

// Nobody restarts an ingress or a worker because the broker was away, and nothing accepted is lost or doubled.
func TestBrokerIsKilledUnderLoad(t *testing.T) {
	f := newFleet(t)
	f.worker()
	session := f.load(f.ingress(), 3000, 16)
	end := drive(t, session)
	for range 3 {
		reached(t, session, 500)
		f.nats.Kill()
		f.nats.Boot()
	}
	reached(t, session, 500)
	f.nats.Restart()
	reached(t, session, 500)
	end()
	f.audit(session)
}

// Without a broker the answer is 503 with Retry-After. What was on its way in the moment when the broker went has a receipt; all that comes later
// was not stored.
func TestBrokerAwayIsAnsweredSoon(t *testing.T) {
	f := newFleet(t)
	f.worker()
	in := f.ingress()
	f.declare(in)
	register := func() int {
		code, _, _ := f.call(in, http.MethodPut, "/v1/users/u", jsonMedia, `{"bot_id":"bot","module_id":7}`)
		return code
	}
	if code := register(); code != http.StatusOK {
		t.Fatalf("register: %d", code)
	}
	f.nats.Stop()
	const body = `{"user_id":"u","module_id":7,"is_async":true}`
	f.client.Timeout = natstest.Patience
	natstest.Eventually(t, func() bool {
		code, header, answer := f.call(in, http.MethodPost, "/actionsvc/trigger-response", jsonMedia, body)
		var failure struct{ Code, Receipt string }
		if err := json.Unmarshal([]byte(answer), &failure); code != http.StatusServiceUnavailable || err != nil {
			t.Errorf("got %d %s", code, answer)
		}
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err != nil || seconds < 1 {
			t.Errorf("Retry-After is %q", header.Get("Retry-After"))
		}
		if sent := failure.Code == "unknown_outcome"; sent && failure.Receipt == "" {
			t.Errorf("no receipt in %s", answer)
		}
		return failure.Code == "unavailable"
	}, "the ingress to know that the broker is away")
	f.nats.Boot()
	natstest.Eventually(t, func() bool {
		code, _, _ := f.call(in, http.MethodPost, "/actionsvc/trigger-response", jsonMedia, body)
		return code == http.StatusOK
	}, "triggers to be accepted again")
}

// Accepting depends on the broker alone; what was accepted meanwhile is applied by the next worker.
func TestWorkerIsReplacedUnderLoad(t *testing.T) {
	f := newFleet(t)
	w := f.worker()
	session := f.load(f.ingress(), 3000, 16)
	end := drive(t, session)
	for range 3 {
		reached(t, session, 500)
		w.stop()
		reached(t, session, 500)
		w = f.worker()
	}
	reached(t, session, 500)
	end()
	if report := f.audit(session); report.Unknown > 0 || len(report.Refused) > 0 {
		t.Errorf("%d unknown, refused %v: accepting depended on the worker", report.Unknown, report.Refused)
	}
}

// While nobody can say that a user does not exist, the trigger is accepted, and rejected by the worker that comes.
func TestStrangerIsRejectedLater(t *testing.T) {
	f := newFleet(t)
	in := f.ingress()
	f.declare(in)
	code, _, answer := f.call(in, http.MethodPost, "/actionsvc/trigger-response", jsonMedia, `{"user_id":"nobody","module_id":7,"is_async":true}`)
	var accepted struct {
		TriggerID string `json:"trigger_id"`
	}
	if err := json.Unmarshal([]byte(answer), &accepted); code != http.StatusOK || err != nil {
		t.Fatalf("trigger: %d %s", code, answer)
	}
	f.worker()
	code, _, answer = f.call(in, http.MethodGet, "/v1/triggers/"+accepted.TriggerID+"?wait=30s", "", "")
	var outcome struct{ Status, Reason string }
	if err := json.Unmarshal([]byte(answer), &outcome); code != http.StatusOK || err != nil || outcome.Status != "rejected" || outcome.Reason != "unknown_user" {
		t.Errorf("outcome: %d %s", code, answer)
	}
}
