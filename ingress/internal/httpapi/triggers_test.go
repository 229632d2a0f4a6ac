package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
)

func TestGetTrigger(t *testing.T) {
	w := newWorld(t, nil)
	w.state.outcome = func(_ context.Context, account string, p int, id string, wait time.Duration) (*statequery.Outcome, error) {
		if account != "demo" || p != 2 || wait != 10*time.Second {
			t.Errorf("asked %q %d %v", account, p, wait)
		}
		return &statequery.Outcome{TriggerID: "2-10482-3", UserID: "alice", Status: "duplicate", DuplicateOf: "2-9-0", AcceptedAt: someTime, AppliedAt: someTime}, nil
	}
	const want = `{"trigger_id":"2-10482-3","user_id":"alice","status":"duplicate","reason":null,"duplicate_of":"2-9-0","accepted_at":"2026-01-02T03:04:05.678Z","applied_at":"2026-01-02T03:04:05.678Z","user_version":null}`
	w.do(http.MethodGet, "/v1/triggers/2-10482-3?wait=10s", "").want(t, 200, want)
	w.do(http.MethodGet, "/v1/triggers/"+someReceipt.String()+"?wait=10s", "").want(t, 200, want)
}

func TestGetTriggerErrors(t *testing.T) {
	for _, tc := range []struct {
		path   string
		err    error
		status int
		code   string
	}{
		{"2-10482-3", statequery.ErrNotFound, 404, "not_found"},
		{"2-10482-3", statequery.ErrExpired, 404, "outcome_expired"},
		{"2-10482-3", statequery.ErrSilent, 503, "unavailable"}, // nor is it in the log
		{someReceipt.String(), statequery.ErrSilent, 503, "unavailable"},
		{someReceipt.String(), statequery.ErrNotFound, 404, "not_found"},
		{"nonsense", nil, 404, "not_found"},
		{"r-nonsense", nil, 404, "not_found"},
		{"8-1-0", nil, 404, "not_found"}, // there are partitions 0 to 7
		{"r-8-w0123456789abc-17-4", nil, 404, "not_found"},
		{"2-10482-3?wait=31s", nil, 400, "invalid_field"},
		{"2-10482-3?wait=-1s", nil, 400, "invalid_field"},
		{"2-10482-3?wait=ten", nil, 400, "invalid_field"},
	} {
		w := newWorld(t, nil)
		w.state.outcome = func(context.Context, string, int, string, time.Duration) (*statequery.Outcome, error) {
			return nil, tc.err
		}
		a := w.do(http.MethodGet, "/v1/triggers/"+tc.path, "")
		if a.status != tc.status || !strings.Contains(a.body, `"code":"`+tc.code+`"`) {
			t.Errorf("%s, %v: %d %s", tc.path, tc.err, a.status, a.body)
		}
	}
}

// message makes a message of the log that holds the lines.
func message(lines ...string) *jetstream.RawStreamMsg {
	b := record.Batch{Writer: "w0123456789abc", Number: 17, Time: someTime, Count: len(lines), Payload: []byte(strings.Join(lines, "\n"))}
	return &jetstream.RawStreamMsg{Header: nats.Header(b.Header()), Data: b.Payload, Time: time.UnixMilli(someTime)}
}

// TestAcceptedFromLog shows that a trigger never looks lost while the owner is away: the log has it.
func TestAcceptedFromLog(t *testing.T) {
	w := newWorld(t, nil)
	w.log.messages[10482] = message(
		`{"type":"trigger","account":"other","user":"eve"}`,
		`{"type":"trigger","account":"demo","user":"alice"}`,
		`{"type":"tick"}`,
		`not a record`,
	)
	for _, err := range []error{statequery.ErrSilent, statequery.ErrBehind, statequery.ErrOverloaded} {
		w.state.outcome = func(context.Context, string, int, string, time.Duration) (*statequery.Outcome, error) {
			return nil, err
		}
		w.do(http.MethodGet, "/v1/triggers/2-10482-1", "").want(t, 200,
			`{"trigger_id":"2-10482-1","user_id":"alice","status":"accepted","reason":null,"duplicate_of":null,"accepted_at":"2026-01-02T03:04:05.678Z","applied_at":null,"user_version":null}`)
	}
	// Another account's record, one of nobody, one that cannot be read, and one that is not there.
	for _, index := range []string{"0", "2", "3", "4"} {
		if a := w.do(http.MethodGet, "/v1/triggers/2-10482-"+index, ""); a.status != 404 {
			t.Errorf("index %s: %d %s", index, a.status, a.body)
		}
	}
}

// TestNewerLog shows that what a newer triggerd wrote is not called lost.
func TestNewerLog(t *testing.T) {
	w := newWorld(t, nil)
	m := message(`{}`)
	m.Header.Set(record.HeaderVersion, "99")
	w.log.messages[10482] = m
	if a := w.do(http.MethodGet, "/v1/triggers/2-10482-0", ""); a.status != 503 {
		t.Errorf("newer: %d %s", a.status, a.body)
	}
	m.Header.Del(record.HeaderCount)
	m.Header.Set(record.HeaderVersion, "1")
	if a := w.do(http.MethodGet, "/v1/triggers/2-10482-0", ""); a.status != 404 {
		t.Errorf("malformed: %d %s", a.status, a.body)
	}
}

// TestShutdownEndsWaits shows that whoever waits for an outcome does not hold a shutdown up.
func TestShutdownEndsWaits(t *testing.T) {
	w := newWorld(t, nil)
	w.log.messages[10482] = message(`{"type":"trigger","account":"demo","user":"alice"}`)
	w.state.outcome = func(ctx context.Context, _ string, _ int, _ string, _ time.Duration) (*statequery.Outcome, error) {
		go w.api.Shutdown(context.Background())
		<-ctx.Done()
		return nil, statequery.ErrSilent
	}
	if a := w.do(http.MethodGet, "/v1/triggers/2-10482-0?wait=30s", ""); a.status != 200 || !strings.Contains(a.body, `"accepted"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}
