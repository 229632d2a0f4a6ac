package loadgen

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// Rests after an attempt that has to be repeated: they double, have a random half, and are no shorter than Retry-After says. A client that hammers a full
// server measures nothing.
const (
	restFirst = 50 * time.Millisecond
	restMost  = time.Second
)

// laterMost is after how many more requests of its connection a repeat that is not sent at once is sent, at the most.
const laterMost = 20

// sender is one connection and the users that are its own.
type sender struct {
	session   *Session
	number    int
	conn      conn
	twin      conn // for what is sent twice at once
	request   *request
	schedule  *schedule
	waiter    waiter
	random    *rand.Rand
	hot, cold ring
	items     []item // of the trigger, or batch, in hand
	open      []item // of those, to be sent again
	due, sent time.Time
	rest      time.Duration // that the last answer asked for
	lines     []byte        // for the ledger
	requests  int
	later     []repeat
	tally     tally
}

// repeat is an accepted trigger that is to be sent again.
type repeat struct {
	at int // in requests
	item
	first record.ID
}

// tally is what one connection saw.
type tally struct {
	accepted, repeated, unknown, again uint64
	refused                            map[string]uint64 // by status and code
	idle                               bool              // all of its users have unknown outcomes
}

// Drive puts the load on for Config.Duration, or until ctx ends. It may be called again, for more of it.
func (r *Session) Drive(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Duration)
	defer cancel()
	if r.ledger != nil {
		r.ledger.stop = cancel
	}
	schedule := newSchedule(&r.cfg, time.Now())
	progress := r.progress(ctx)
	var wg sync.WaitGroup
	for i := range r.cfg.Connections {
		s := r.sender(i, schedule)
		r.senders = append(r.senders, s)
		wg.Go(func() { s.loop(ctx) })
	}
	go func() { wg.Wait(); cancel() }() // all of them may run out of users
	<-ctx.Done()
	r.missed += schedule.missed(time.Now()) * uint64(r.cfg.Batch)
	wg.Wait()
	r.elapsed += time.Since(schedule.start)
	progress()
}

func (r *Session) sender(i int, schedule *schedule) *sender {
	own := (r.cfg.Users - i + r.cfg.Connections - 1) / r.cfg.Connections
	hot := 0
	if r.cfg.Skew.Calls > 0 {
		hot = min(own, max(1, r.cfg.Skew.hot(own)))
	}
	return &sender{
		session: r, number: i, schedule: schedule,
		conn:    conn{targets: r.targets, at: i % len(r.targets), timeout: r.cfg.Timeout},
		twin:    conn{targets: r.targets, at: (i + 1) % len(r.targets), timeout: r.cfg.Timeout},
		request: newRequest(r.cfg.Token, r.name, r.cfg.Vars, r.cfg.ValueBytes, r.cfg.Batch > 1),
		random:  rand.New(rand.NewPCG(r.seed, uint64(i))),
		hot:     ring{first: i, step: r.cfg.Connections, size: hot},
		cold:    ring{first: i + hot*r.cfg.Connections, step: r.cfg.Connections, size: own - hot},
		tally:   tally{refused: map[string]uint64{}},
	}
}

func (s *sender) loop(ctx context.Context) {
	defer s.conn.close()
	defer s.twin.close()
	defer func() { s.session.ledger.write(s.lines) }()
	for {
		due, ok := s.schedule.due(ctx, &s.waiter)
		if !ok {
			return
		}
		if s.tally.idle = !s.fill(); s.tally.idle {
			return
		}
		s.due = due
		s.deliver(ctx)
		s.repeatLater()
	}
}

// fill takes the next users, as many as a request has triggers; false if there are not as many who may get one.
func (s *sender) fill() bool {
	s.items = s.items[:0]
	for range s.session.cfg.Batch {
		user, ok := s.user()
		if !ok {
			return false
		}
		s.items = append(s.items, item{user: user, seq: s.session.history.users[user].sent + 1, keyed: s.session.cfg.Keys})
	}
	return true
}

// user is the next one who may get a trigger: a hot one, if it is one's turn.
func (s *sender) user() (int, bool) {
	first, second := &s.cold, &s.hot
	if s.hot.size > 0 && s.random.Float64()*100 < s.session.cfg.Skew.Calls {
		first, second = second, first
	}
	for _, from := range []*ring{first, second} {
		for range from.size {
			if n := from.take(); s.session.history.users[n].unknown == nil && !slices.ContainsFunc(s.items, func(it item) bool { return it.user == n }) {
				return n, true
			}
		}
	}
	return 0, false
}

// deliver sends the triggers in hand until it is known what became of them, or ctx ends.
func (s *sender) deliver(ctx context.Context) {
	chosen := s.session.cfg.Repeats > 0 && s.random.Float64()*100 < float64(s.session.cfg.Repeats)
	twice := chosen && s.random.IntN(2) == 0
	for i := range s.items {
		s.items[i].keyed = s.items[i].keyed || chosen
	}
	s.open = append(s.open[:0], s.items...)
	for try := 0; ; try++ {
		s.rest = 0
		s.attempt(s.open, twice)
		if len(s.open) == 0 || !s.pause(ctx, try) {
			break
		}
		s.tally.again++
		twice = false
	}
	if chosen && !twice {
		s.keepForLater()
	}
}

// pause rests before the next attempt; false when ctx ended before.
func (s *sender) pause(ctx context.Context, try int) bool {
	rest := min(restMost, restFirst<<min(try, 10))
	rest = max(s.rest, rest/2+time.Duration(s.random.Int64N(int64(rest/2))))
	return s.waiter.until(ctx, time.Now().Add(rest))
}

// attempt sends items once, or twice at the same time, and leaves in s.open those that are to be sent again.
func (s *sender) attempt(items []item, twice bool) {
	s.begin(items)
	if twice {
		s.begin(items)
	}
	if !s.flush() {
		s.open = s.open[:0]
		return
	}
	s.requests++
	s.sent = time.Now()
	err := s.conn.send(s.request.render(s.conn.host(), items))
	var twinErr error
	if twice {
		twinErr = s.twin.send(s.request.render(s.twin.host(), items))
	}
	again := s.receive(&s.conn, items, err, nil)
	if twice {
		s.tally.again++
		again = s.receive(&s.twin, items, twinErr, again)
	}
	s.open = append(s.open[:0], again...)
}

// begin notes that items are about to be sent.
func (s *sender) begin(items []item) {
	if s.session.baseline {
		return
	}
	for i := range items {
		it := &items[i]
		s.session.history.users[it.user].begin(it.seq)
		if s.session.ledger != nil {
			s.lines = appendLine(s.lines, lineBegin, it.user, it.seq)
			if it.keyed {
				s.lines = append(s.lines, " k"...)
			}
			s.lines = append(s.lines, '\n')
		}
	}
}

// flush writes what was noted into the ledger.
func (s *sender) flush() bool {
	ok := s.session.ledger.write(s.lines)
	s.lines = s.lines[:0]
	return ok
}
