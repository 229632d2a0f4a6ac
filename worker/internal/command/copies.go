package command

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Copies are those of one stream, the leader's counted in.
type Copies struct {
	Stream string   `json:"stream"`
	Leader string   `json:"leader,omitempty"` // server; empty: the broker has only one
	Want   int      `json:"want"`
	Good   int      `json:"good"`          // there and up to date
	Bad    []string `json:"bad,omitempty"` // which are not, and how so
}

// A copy that is behind by less is one that follows; the broker calls it not current while anything is on its way.
const (
	behindEntries = 1000
	behindSilence = 10 * time.Second
)

func copiesOf(info *jetstream.StreamInfo) Copies {
	c := Copies{Stream: info.Config.Name, Want: max(info.Config.Replicas, 1), Good: 1}
	if info.Cluster == nil {
		return c
	}
	c.Leader = info.Cluster.Leader
	for _, r := range info.Cluster.Replicas {
		switch {
		case r.Offline:
			c.Bad = append(c.Bad, fmt.Sprintf("that of %s is offline since %s", r.Name, age(r.Active.Seconds())))
		case !r.Current && (r.Lag > behindEntries || r.Active > behindSilence):
			c.Bad = append(c.Bad, fmt.Sprintf("that of %s is %d operations behind, last heard of %s ago", r.Name, r.Lag, age(r.Active.Seconds())))
		default:
			c.Good++
		}
	}
	if missing := c.Want - c.Good - len(c.Bad); missing > 0 {
		c.Bad = append(c.Bad, fmt.Sprintf("%d lie on no server yet", missing))
	}
	return c
}

// shared looks at the streams that all partitions have in common.
func (s *survey) shared(ctx context.Context) (wrong []Wrong) {
	for _, name := range broker.SharedStreams() {
		within, cancel := context.WithTimeout(ctx, askWithin)
		stream, err := s.b.JS.Stream(within, name)
		cancel()
		if err != nil {
			wrong = append(wrong, unanswered("", fmt.Errorf("look at stream %s: %w", name, err)))
			continue
		}
		info := stream.CachedInfo()
		wrong = append(wrong, missingCopies(copiesOf(info))...)
		if name == broker.SnapshotsStream && nearlyFull(info.State.Bytes, info.Config.MaxBytes) {
			wrong = append(wrong, Wrong{What: fmt.Sprintf("the snapshots fill %s of %s; without room for new ones logs are not trimmed",
				size(info.State.Bytes), size(uint64(info.Config.MaxBytes))), Do: "start the workers with a larger -snapshots-max-bytes"})
		}
	}
	return wrong
}
