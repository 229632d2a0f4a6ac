package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

const (
	redirected = "triggerd.conversation.redirected"
	updated    = "triggerd.conversation.updated"
	rejected   = "triggerd.trigger.rejected"
)

// event is a CloudEvent as its readers see it.
type event struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	Traceparent string    `json:"traceparent"`
	Data        struct {
		Account      string                     `json:"account"`
		UserID       string                     `json:"user_id"`
		BotID        string                     `json:"bot_id"`
		ModuleBefore int64                      `json:"module_before"`
		ModuleAfter  int64                      `json:"module_after"`
		Variables    map[string]json.RawMessage `json:"variables"`
		Version      uint64                     `json:"version"`
		Reason       string                     `json:"reason"`
		TriggerID    string                     `json:"trigger_id"`
	} `json:"data"`
}

// brief is an event in a line.
func (e event) brief() string { return e.Type + " " + e.ID }

// events reads all events of all partitions, and holds each stream to its promises: the numbers have no gaps, no event is there twice.
func (f *fleet) events() (all []event) {
	f.t.Helper()
	seen := map[string]bool{}
	for p := 0; ; p++ {
		stream, err := f.js.Stream(f.t.Context(), broker.EventsStream(p))
		if errors.Is(err, jetstream.ErrStreamNotFound) && p > 0 {
			return all
		}
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range readEvents(f.t, p, stream) {
			if key := e.Source + " " + e.ID; seen[key] {
				f.t.Errorf("event %s is there twice", key)
			} else {
				seen[key] = true
			}
			all = append(all, e)
		}
	}
}

func readEvents(t *testing.T, p int, stream jetstream.Stream) (all []event) {
	t.Helper()
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		var part []event
		if err := json.Unmarshal(msg.Data, &part); err != nil {
			t.Fatalf("events of partition %d, message %d: %v", p, seq, err)
		}
		first, last := len(all)+1, len(all)+len(part)
		if msg.Header.Get("Triggerd-First-Event") != strconv.Itoa(first) || msg.Header.Get("Triggerd-Last-Event") != strconv.Itoa(last) {
			t.Errorf("events of partition %d, message %d: headers %v, want %d to %d", p, seq, msg.Header, first, last)
		}
		for _, e := range part {
			if e.SpecVersion != "1.0" || e.Source != fmt.Sprintf("triggerd/partition/%d", p) || e.Subject != e.Data.UserID || e.Data.Account != account {
				t.Errorf("events of partition %d, message %d: %+v", p, seq, e)
			}
		}
		all = append(all, part...)
	}
	return all
}

// about waits until there are n events about a user, and returns them.
func (f *fleet) about(user string, n int) (found []event) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		found = nil
		for _, e := range f.events() {
			if e.Subject == user {
				found = append(found, e)
			}
		}
		return len(found) >= n
	}, "%d events about %s", n, user)
	if len(found) > n {
		f.t.Errorf("%d events about %s, want %d: %+v", len(found), user, n, found)
	}
	return found
}

// tells fails the test unless the events about a user are those.
func (f *fleet) tells(user string, want ...string) []event {
	f.t.Helper()
	found := f.about(user, len(want))
	for i, e := range found {
		if i < len(want) && e.brief() != want[i] {
			f.t.Errorf("event %d about %s is %s, want %s", i+1, user, e.brief(), want[i])
		}
	}
	return found
}
