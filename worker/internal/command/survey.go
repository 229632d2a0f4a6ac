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

// askAtOnce bounds how many partitions are asked at once.
const askAtOnce = 16

// Row is one partition as inspect shows it. Sequences are those of the log; ages are in seconds.
type Row struct {
	Partition     int               `json:"partition"`
	LogID         string            `json:"log_id"`
	State         string            `json:"state"` // of its owner, or: paused, halted, unowned, silent
	Owner         string            `json:"owner,omitempty"`
	OwnerHost     string            `json:"owner_host,omitempty"`
	Standby       string            `json:"standby,omitempty"`
	First         uint64            `json:"first"`
	Last          uint64            `json:"last"`
	LogBytes      uint64            `json:"log_bytes"`
	Applied       uint64            `json:"applied"`
	Lag           uint64            `json:"lag_messages"`
	OldestAge     float64           `json:"oldest_unapplied_seconds"`
	Events        uint64            `json:"events"`
	Emitted       uint64            `json:"emitted"`
	Pending       uint64            `json:"pending_redirects"`
	Users         uint64            `json:"users"`
	CheckpointSeq uint64            `json:"checkpoint_seq"`
	CheckpointAge float64           `json:"checkpoint_age_seconds"`
	SnapshotSeq   uint64            `json:"snapshot_seq,omitempty"`
	SnapshotAge   float64           `json:"snapshot_age_seconds,omitempty"`
	Digest        string            `json:"digest,omitempty"` // as of Applied
	Paused        string            `json:"paused,omitempty"` // by whom and why
	Quarantined   string            `json:"quarantined,omitempty"`
	Halted        map[string]string `json:"halted,omitempty"` // worker to cause
	Faults        []string          `json:"faults,omitempty"` // what could not be found out, or is wrong with its streams
}

// survey is what is known of all partitions.
type survey struct {
	b       *broker.Broker
	digest  bool
	now     time.Time
	members []membership.Member
	owners  []string
}

// take asks everybody. What one partition does not answer is a fault in its row.
func (s *survey) take(ctx context.Context) (rows []Row, err error) {
	if s.members, err = membership.List(ctx, s.b); err != nil {
		return nil, err
	}
	s.owners = membership.Assign(s.b.Partitions(), s.members)
	rows = make([]Row, s.b.Partitions())
	var group errgroup.Group
	group.SetLimit(askAtOnce)
	for p := range rows {
		group.Go(func() error {
			rows[p] = s.row(ctx, p)
			return nil
		})
	}
	return rows, group.Wait()
}

func (s *survey) row(ctx context.Context, p int) Row {
	r := Row{Partition: p, LogID: s.b.LogID(p), State: "unowned"}
	fault := func(err error) {
		if err != nil {
			r.Faults = append(r.Faults, err.Error())
		}
	}
	s.who(&r)
	fault(s.log(ctx, &r))
	fault(s.orders(ctx, &r))
	fault(s.snapshot(ctx, &r))
	fault(s.status(ctx, &r))
	return r
}

// who finds out whose the partition is.
func (s *survey) who(r *Row) {
	if r.Owner = s.owners[r.Partition]; r.Owner != "" {
		r.State = "silent" // unless it answers
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
				r.State = "halted"
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
	stream, err := s.b.JS.Stream(ctx, broker.TriggersStream(r.Partition))
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	r.First, r.Last, r.LogBytes = state.FirstSeq, state.LastSeq, state.Bytes
	return nil
}

func (s *survey) orders(ctx context.Context, r *Row) error {
	order, err := control.Read(ctx, s.b, r.Partition)
	if err != nil {
		return err
	}
	if order.Paused() {
		r.Paused, r.State = order.PausedBy(), "paused"
	}
	if suspect, ok := order.Quarantined(); ok {
		r.Quarantined = suspect.String()
	}
	return nil
}

// snapshot finds the newest one.
func (s *survey) snapshot(ctx context.Context, r *Row) error {
	entries, err := snapshot.New(snapshot.Config{}, snapshot.Deps{Broker: s.b}).Of(r.Partition, "").List(ctx)
	if len(entries) > 0 {
		r.SnapshotSeq, r.SnapshotAge = entries[0].Seq, s.now.Sub(entries[0].MadeAt).Seconds()
	}
	return err
}

// status asks the owner. Where nobody is to answer silence is no fault.
func (s *survey) status(ctx context.Context, r *Row) error {
	reply, err := statequery.NewClient(s.b.Conn).Ask(ctx, r.Partition, statequery.Request{Status: &statequery.StatusOf{Digest: s.digest}})
	switch {
	case errors.Is(err, statequery.ErrBadRequest):
		return errors.New("its owner is of an earlier build, which cannot say where it stands")
	case errors.Is(err, statequery.ErrSilent) && r.State != "silent":
		return nil
	case err != nil:
		return fmt.Errorf("ask owner: %w", err)
	}
	st := reply.Status
	r.State, r.Applied, r.Last = st.State, reply.Applied, max(r.Last, st.Last, reply.Applied)
	r.Lag, r.OldestAge = r.Last-r.Applied, millis(st.OldestAge)
	r.Events, r.Emitted, r.Pending, r.Users = st.Events, st.Emitted, st.Pending, st.Users
	r.CheckpointSeq, r.CheckpointAge, r.Digest = st.CheckpointSeq, millis(st.CheckpointAge), st.Digest
	if r.Paused != "" {
		r.State = "paused, still " + st.State
	}
	return nil
}

func millis(ms int64) float64 { return float64(ms) / 1000 }
