package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Audit waits until everything is applied and emitted, which nobody may have to restart anything for, and holds the load against what came of
// it. Call it after Load.Stop. The error means that there is no evidence.
func (f *Fleet) Audit(ctx context.Context, l *Load) ([]string, error) {
	users := l.Users()
	resting, cancel := f.patient(ctx)
	defer cancel()
	ev, err := f.evidence(resting, users, true)
	if err != nil && ctx.Err() == nil { // something does not come to an end: the evidence, as it is, says what
		f.fault("nothing new comes, and yet: %v", err)
		last, cancel := f.patient(ctx)
		defer cancel()
		ev, err = f.evidence(last, users, false)
	}
	if err != nil {
		return nil, err
	}
	return slices.Concat(f.Faults(), f.alarms(), Audit(users, ev)), nil
}

// alarm is what a worker says when its state is not its owner's.
const alarm = "digests of owner and standby differ"

// alarms are the lines of the workers' logs that say so.
func (f *Fleet) alarms() (lines []string) {
	for _, w := range f.workers {
		text, err := os.ReadFile(w.log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			lines = append(lines, err.Error())
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, alarm) {
				lines = append(lines, w.name+": "+strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// evidence collects, when all is at rest if that is asked for.
func (f *Fleet) evidence(ctx context.Context, users []*User, rest bool) (ev Evidence, err error) {
	for {
		before, err := f.drained(ctx)
		if err != nil {
			return ev, err
		}
		f.resolve(ctx, users)
		if ev, err = f.collect(ctx, users); err != nil {
			return ev, err
		}
		after, err := f.drained(ctx)
		if err != nil || !rest || slices.Equal(before, after) && allFired(ev) {
			return ev, err
		}
		if !pause(ctx, restPause) {
			return ev, fmt.Errorf("wait for redirects to fire: %w", ctx.Err())
		}
	}
}

// restPause is between two looks at everything.
const restPause = 250 * time.Millisecond

// drained waits until all logs are applied and all events emitted, and returns where logs and events end.
func (f *Fleet) drained(ctx context.Context) (ends []uint64, err error) {
	for p := range f.cfg.Partitions {
		err := poll(ctx, fmt.Sprintf("partition %d to be drained", p), func() bool {
			log, err := f.lastSeq(ctx, broker.TriggersStream(p))
			if err != nil {
				return false
			}
			for _, page := range f.partitions(ctx) {
				if page.Partition == p && page.State == "serving" && page.Applied >= log && page.Emitted == page.Events {
					events, err := f.lastSeq(ctx, broker.EventsStream(p))
					ends = append(ends, log, events)
					return err == nil
				}
			}
			return false
		})
		if err != nil {
			return nil, err
		}
	}
	return ends, nil
}

func (f *Fleet) firstSeq(ctx context.Context, stream string) (uint64, error) {
	s, err := f.js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.FirstSeq, nil
}

func (f *Fleet) lastSeq(ctx context.Context, stream string) (uint64, error) {
	s, err := f.js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}

// resolve asks for triggers with receipts that nobody has told about yet. A receipt that leads nowhere by now leads nowhere.
func (f *Fleet) resolve(ctx context.Context, users []*User) {
	c := newClient(f.addrs(), f.token)
	defer c.http.CloseIdleConnections()
	for _, u := range users {
		for i := range u.Attempts {
			at := &u.Attempts[i]
			if at.Receipt == "" || at.Result == Accepted {
				continue
			}
			a, err := c.until(ctx, http.MethodGet, "/v1/triggers/"+at.Receipt, "", http.StatusOK, http.StatusNotFound)
			var o struct {
				ID string `json:"trigger_id"`
			}
			switch {
			case err != nil:
				at.Result = Unknown
			case a.status == http.StatusNotFound:
				at.Result = Refused
			case json.Unmarshal(a.body, &o) == nil:
				at.Result, at.ID = Accepted, o.ID
			}
		}
	}
}

// collect reads events, states and outcomes.
func (f *Fleet) collect(ctx context.Context, users []*User) (ev Evidence, err error) {
	for p := range f.cfg.Partitions {
		messages, err := f.events(ctx, p)
		if err != nil {
			return ev, fmt.Errorf("read events of partition %d: %w", p, err)
		}
		ev.Streams = append(ev.Streams, messages)
	}
	c := newClient(f.addrs(), f.token)
	defer c.http.CloseIdleConnections()
	ev.Cuts = f.cuts
	ev.States, ev.Outcomes = map[string]*State{}, map[string]string{}
	for _, u := range users {
		if ev.States[u.Name], err = readState(ctx, c, u.Name); err != nil {
			return ev, err
		}
		for _, id := range sample(u) {
			if ev.Outcomes[id], err = readStatus(ctx, c, id); err != nil {
				return ev, err
			}
		}
	}
	return ev, nil
}

// sample is a user's first accepted trigger and its last one.
func sample(u *User) (ids []string) {
	for i := range u.Attempts {
		if u.Attempts[i].Result == Accepted {
			ids = append(ids, u.Attempts[i].ID)
		}
	}
	if len(ids) > 2 {
		ids = append(ids[:1], ids[len(ids)-1])
	}
	return ids
}

func readState(ctx context.Context, c *client, user string) (*State, error) {
	a, err := c.until(ctx, http.MethodGet, "/v1/users/"+user, "", http.StatusOK, http.StatusNotFound)
	if err != nil || a.status == http.StatusNotFound {
		return nil, err
	}
	s := &State{}
	return s, a.into(s)
}

func readStatus(ctx context.Context, c *client, id string) (string, error) {
	a, err := c.until(ctx, http.MethodGet, "/v1/triggers/"+id, "", http.StatusOK, http.StatusNotFound)
	if err != nil || a.status == http.StatusNotFound {
		return "", err
	}
	var o struct {
		Status string `json:"status"`
	}
	return o.Status, a.into(&o)
}

// events reads EVENTS-p from its first message to its last.
func (f *Fleet) events(ctx context.Context, p int) (all []Message, err error) {
	end, err := f.lastSeq(ctx, broker.EventsStream(p))
	if err != nil || end == 0 {
		return nil, err
	}
	c, err := f.js.OrderedConsumer(ctx, broker.EventsStream(p), jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	messages, err := c.Messages(jetstream.PullHeartbeat(500*time.Millisecond), jetstream.PullExpiry(5*time.Second)) // a first pull may get lost in a cluster
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		m := Message{Seq: meta.Sequence.Stream, First: msg.Headers().Get("Triggerd-First-Event"), Last: msg.Headers().Get("Triggerd-Last-Event")}
		if err := json.Unmarshal(msg.Data(), &m.Events); err != nil {
			return nil, fmt.Errorf("message %d: %w", m.Seq, err)
		}
		all = append(all, m)
		if m.Seq >= end {
			return all, nil
		}
	}
}

// allFired: nothing waits any more but what is far off.
func allFired(ev Evidence) bool {
	for _, s := range ev.States {
		if s == nil {
			continue
		}
		for _, p := range s.Pending {
			if time.Until(p.DueAt) < far/2 {
				return false
			}
		}
	}
	return true
}

// page is a partition on a worker's admin page.
type page struct {
	worker    *process
	Partition int    `json:"partition"`
	State     string `json:"state"`
	Cause     string `json:"cause"`
	Applied   uint64 `json:"applied"`
	Last      uint64 `json:"last"`
	Events    uint64 `json:"events"`
	Emitted   uint64 `json:"emitted"`
}

// partitions are those of all workers that answer.
func (f *Fleet) partitions(ctx context.Context) (all []page) {
	for _, w := range f.workers {
		var list struct {
			Partitions []page `json:"partitions"`
		}
		if w.admin(ctx, "/partitions").into(&list) != nil {
			continue
		}
		for _, p := range list.Partitions {
			p.worker = w
			all = append(all, p)
		}
	}
	return all
}
