package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Rhythms of reading back.
const (
	readbackUsers = 16
	readbackRest  = 2 * time.Millisecond // between two triggers: this is no load
	readbackLimit = 30 * time.Second     // for one to be readable
)

// Readback sends one trigger after the other, for users of its own, until ctx ends, and measures in µs how long it takes from each answer until GET
// /v1/users shows the trigger. It asks again as soon as it was answered, so a question's own time is in that. cfg says where; its load does not count.
func Readback(ctx context.Context, cfg Config) (*hdrhistogram.Histogram, error) {
	cfg.Users, cfg.Connections, cfg.Batch, cfg.Ledger, cfg.Repeats, cfg.Skew = readbackUsers, 1, 1, "", 0, Skew{}
	session, err := Prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer session.api.close()
	s := session.sender(0, &schedule{})
	defer s.conn.close()
	seen := newHistogram()
	for pause(ctx, readbackRest) {
		if !s.fill() {
			return nil, errors.New("read back: every trigger's outcome is unknown")
		}
		it := s.items[0]
		s.due = time.Now()
		s.deliver(ctx)
		if session.history.users[it.user].last != it.seq {
			continue // not accepted
		}
		d, err := s.readable(it)
		if err != nil {
			return nil, err
		}
		_ = seen.RecordValue(min(histogramMax, max(histogramMin, d.Microseconds())))
	}
	return seen, nil
}

// readable asks until the user's state shows a trigger.
func (s *sender) readable(it item) (time.Duration, error) {
	begun := time.Now()
	for {
		var state userState
		err := s.session.api.call(context.Background(), http.MethodGet, "/v1/users/"+userName(s.session.name, it.user), "", nil, &state)
		d := time.Since(begun)
		switch {
		case err == nil && state.number() >= it.seq:
			return d, nil
		case d > readbackLimit:
			return 0, fmt.Errorf("read back: trigger %d of user %d is not readable after %s: %w", it.seq, it.user, d, err)
		}
	}
}
