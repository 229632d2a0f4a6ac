package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/worker/internal/control"
	"github.com/triggerd/triggerd/worker/internal/membership"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// askAtOnce bounds how many partitions are asked at once, askWithin how long one question may take: what does not answer is no reason not to show
// the rest.
const (
	askAtOnce = 16
	askWithin = 2 * time.Second
)

// Row is one partition as inspect shows it. Sequences are those of the log; ages are in seconds. What could not be found out is left out.
type Row struct {
	Partition int    `json:"partition"`
	LogID     string `json:"log_id"`
	State     string `json:"state"` // of its owner, or one of the states below
	Owner     string `json:"owner,omitempty"`
	OwnerHost string `json:"owner_host,omitempty"`
	Standby   string `json:"standby,omitempty"`
	*Log             // nil: nobody says
	*Standing        // nil: its owner does not say
	*Kept            // nil: there is no snapshot, or nobody says

	Copies      []Copies          `json:"copies,omitempty"`      // of its streams
	Paused      string            `json:"paused,omitempty"`      // by whom and why
	Quarantined string            `json:"quarantined,omitempty"` // the message
	Halted      map[string]string `json:"halted,omitempty"`      // worker to cause
	Faults      []string          `json:"faults,omitempty"`      // what could not be found out, or is wrong with its streams
	Wrong       []Wrong           `json:"wrong,omitempty"`       // all that is, and what to type

	suspect    uint64 // the message in quarantine
	unlisted   bool   // nobody says which snapshots there are
	unattended bool   // nobody says who the workers are
}

// States of a partition whose owner does not say.
const (
	statePaused  = "paused"
	stateHalted  = "halted"
	stateUnowned = "unowned" // no worker has it
	stateSilent  = "silent"  // the worker whose it is does not answer
	stateUnknown = "unknown" // who the workers are could not be found out
	stateServing = "serving"
)

// Log is what the broker says of a log.
type Log struct {
	First       uint64 `json:"first"`
	Last        uint64 `json:"last"`
	LogBytes    uint64 `json:"log_bytes"`
	LogMaxBytes int64  `json:"log_max_bytes"`
}

// Standing is what an owner says of its partition.
type Standing struct {
	Applied       uint64  `json:"applied"`
	Lag           uint64  `json:"lag_messages"`
	OldestAge     float64 `json:"oldest_unapplied_seconds"`
	Events        uint64  `json:"events"`
	Emitted       uint64  `json:"emitted"`
	Pending       uint64  `json:"pending_redirects"`
	Users         uint64  `json:"users"`
	CheckpointSeq uint64  `json:"checkpoint_seq"`
	CheckpointAge float64 `json:"checkpoint_age_seconds"` // for how long something applied has not been in a checkpoint
	Digest        string  `json:"digest,omitempty"`       // as of Applied
}

// Kept is the newest snapshot.
type Kept struct {
	SnapshotSeq uint64  `json:"snapshot_seq"`
	SnapshotAge float64 `json:"snapshot_age_seconds"`
}

// survey is what is known of all partitions.
type survey struct {
	b       *broker.Broker
	digest  bool
	now     time.Time
	members []membership.Member
	unknown error // why they are not known
	owners  []string
}

// take asks everybody. What one partition does not answer is a fault in its row, what concerns all is in wrong.
func (s *survey) take(ctx context.Context) (rows []Row, wrong []Wrong) {
	list, cancel := context.WithTimeout(ctx, askWithin)
	s.members, s.unknown = membership.List(list, s.b)
	cancel()
	if s.unknown != nil {
		wrong = append(wrong, unanswered("who the workers are is not known", s.unknown))
	}
	s.owners = membership.Assign(s.b.Partitions(), s.members)
	rows = make([]Row, s.b.Partitions())
	var copies []Copies
	var shared []Wrong
	var group errgroup.Group
	group.SetLimit(askAtOnce)
	group.Go(func() error { copies, shared = s.shared(ctx); return nil })
	for p := range rows {
		group.Go(func() error { rows[p] = s.row(ctx, p); return nil })
	}
	_ = group.Wait() // nobody fails
	for _, r := range rows {
		copies = append(copies, r.Copies...)
	}
	return rows, slices.Concat(wrong, judgeCopies(copies), shared)
}

func (s *survey) row(ctx context.Context, p int) Row {
	r := Row{Partition: p, LogID: s.b.LogID(p), State: stateUnowned}
	if s.unknown != nil {
		r.State, r.unattended = stateUnknown, true
	}
	s.who(&r)
	var unknown []Wrong
	for _, ask := range []struct {
		what string
		f    func(context.Context, *Row) error
	}{{"what its log holds", s.log}, {"whether it is paused or in quarantine", s.orders}, {"which snapshots it has", s.snapshot}, {"where its owner stands", s.status}} {
		within, cancel := context.WithTimeout(ctx, askWithin)
		if err := ask.f(within, &r); err != nil {
			r.Faults = append(r.Faults, err.Error())
			unknown = append(unknown, unread(ask.what, err))
		}
		cancel()
	}
	r.Wrong = judge(&r)
	if len(r.Halted) == 0 { // else that says more about the same
		r.Wrong = append(r.Wrong, unknown...)
	}
	return r
}

// who finds out whose the partition is.
func (s *survey) who(r *Row) {
	if r.Owner = s.owners[r.Partition]; r.Owner != "" {
		r.State = stateSilent // unless it answers
	}
	for _, m := range s.members {
		if m.Serving(r.Partition) {
			r.Owner = m.ID
		}
		if slices.Contains(m.Follows, r.Partition) {
			r.Standby = m.ID
		}
		if slices.Contains(m.Halted, r.Partition) {
			if r.Halted == nil {
				r.Halted = map[string]string{}
			}
			r.Halted[m.ID] = m.Causes[r.Partition]
			if m.ID == r.Owner {
				r.State = stateHalted
			}
		}
	}
	for _, m := range s.members {
		if m.ID == r.Owner {
			r.OwnerHost = m.Host
		}
	}
}

// log looks at the streams.
func (s *survey) log(ctx context.Context, r *Row) error {
	if err := s.b.CheckLog(ctx, r.Partition); err != nil {
		return err
	}
	for _, name := range []string{broker.TriggersStream(r.Partition), broker.EventsStream(r.Partition)} {
		stream, err := s.b.JS.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("look at stream %s: %w", name, err)
		}
		info := stream.CachedInfo()
		r.Copies = append(r.Copies, copiesOf(info))
		if r.Log == nil {
			r.Log = &Log{First: info.State.FirstSeq, Last: info.State.LastSeq, LogBytes: info.State.Bytes, LogMaxBytes: info.Config.MaxBytes}
		}
	}
	return nil
}

// shared looks at the streams that all partitions have in common.
func (s *survey) shared(ctx context.Context) (copies []Copies, wrong []Wrong) {
	for _, name := range broker.SharedStreams() {
		within, cancel := context.WithTimeout(ctx, askWithin)
		stream, err := s.b.JS.Stream(within, name)
		cancel()
		if err != nil {
			wrong = append(wrong, unanswered("", fmt.Errorf("look at stream %s: %w", name, err)))
			continue
		}
		info := stream.CachedInfo()
		copies = append(copies, copiesOf(info))
		if name == broker.SnapshotsStream && nearlyFull(info.State.Bytes, info.Config.MaxBytes) {
			wrong = append(wrong, Wrong{What: fmt.Sprintf("the snapshots fill %s of %s; without room for new ones logs are not trimmed",
				size(info.State.Bytes), size(uint64(info.Config.MaxBytes))), Do: "start the workers with a larger -snapshots-max-bytes"})
		}
	}
	return copies, wrong
}

func (s *survey) orders(ctx context.Context, r *Row) error {
	order, err := control.Read(ctx, s.b, r.Partition)
	if err != nil {
		return err
	}
	if order.Paused() {
		if r.Paused = order.PausedBy(); r.State == stateSilent { // it is whose it would be
			r.Owner, r.OwnerHost = "", ""
		}
		r.State = statePaused
	}
	if suspect, ok := order.Quarantined(); ok {
		r.Quarantined, r.suspect = suspect.String(), suspect.Seq
	}
	return nil
}

// snapshot finds the newest one.
func (s *survey) snapshot(ctx context.Context, r *Row) error {
	r.unlisted = true
	entries, err := snapshot.New(snapshot.Config{}, snapshot.Deps{Broker: s.b}).Of(r.Partition, "").List(ctx)
	r.unlisted = err != nil
	if len(entries) > 0 {
		r.Kept = &Kept{SnapshotSeq: entries[0].Seq, SnapshotAge: s.now.Sub(entries[0].MadeAt).Seconds()}
	}
	return err
}

// status asks the owner. Where nobody is to answer silence is no fault, and where somebody is it shows as the state.
func (s *survey) status(ctx context.Context, r *Row) error {
	reply, err := statequery.NewClient(s.b.Conn).Ask(ctx, r.Partition, statequery.Request{Status: &statequery.StatusOf{Digest: s.digest}})
	switch {
	case errors.Is(err, statequery.ErrBadRequest):
		return errors.New("its owner is of an earlier build, which cannot say where it stands")
	case errors.Is(err, statequery.ErrSilent) && r.State != stateSilent:
		return nil
	case err != nil:
		return fmt.Errorf("ask owner: %w", err)
	}
	st := reply.Status
	if r.Owner == "" {
		r.Owner = st.Owner
	}
	if r.Log != nil {
		r.Last = max(r.Last, st.Last, reply.Applied)
	}
	r.State = st.State
	r.Standing = &Standing{Applied: reply.Applied, Lag: max(st.Last, reply.Applied) - reply.Applied, OldestAge: millis(st.OldestAge),
		Events: st.Events, Emitted: st.Emitted, Pending: st.Pending, Users: st.Users,
		CheckpointSeq: st.CheckpointSeq, CheckpointAge: millis(st.CheckpointAge), Digest: st.Digest}
	if r.Log != nil {
		r.Lag = r.Last - reply.Applied
	}
	if r.Paused != "" {
		r.State = "paused, still " + st.State
	}
	return nil
}

func millis(ms int64) float64 { return float64(ms) / 1000 }
