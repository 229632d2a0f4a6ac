package loadgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
)

// Resolution of the latency histogram: microseconds up to a minute, two digits.
const (
	histogramMin    = 1
	histogramMax    = 60_000_000
	histogramDigits = 2
)

// refusedPause is how long a connection rests after it was refused; a client that hammers a full server measures nothing.
const refusedPause = 50 * time.Millisecond

// sender is one connection and the users that are its own.
type sender struct {
	session  *Session
	conn     conn
	request  *request
	batch    []int // users of the request in hand
	first    int   // its users are first, first+step, …
	step     int
	next     int
	tally    tally
	schedule *schedule
	idle     bool // all of its users have unknown outcomes
}

// tally is what one connection saw.
type tally struct {
	accepted, unknown uint64
	refused           map[string]uint64 // by code
	latency           *hdrhistogram.Histogram
	broken            []string
}

// schedule says when triggers are due in an open loop.
type schedule struct {
	start    time.Time
	interval float64 // seconds between two requests
	tickets  atomic.Uint64
}

// due waits for the next trigger's time; false when ctx ended. In a closed loop it is now.
func (s *schedule) due(ctx context.Context) (time.Time, bool) {
	if s.interval == 0 {
		return time.Now(), ctx.Err() == nil
	}
	at := s.start.Add(time.Duration(float64(s.tickets.Add(1)-1) * s.interval * float64(time.Second)))
	return at, pause(ctx, time.Until(at))
}

// pause waits; false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Drive puts the load on for Config.Duration, or until ctx ends. It may be called again, for more of it.
func (r *Session) Drive(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Duration)
	defer cancel()
	schedule := &schedule{start: time.Now()}
	if r.cfg.Rate > 0 {
		schedule.interval = float64(r.cfg.Batch) / r.cfg.Rate
	}
	bar := r.progress(ctx)
	var wg sync.WaitGroup
	for i := range r.cfg.Connections {
		s := r.sender(i, schedule)
		r.senders = append(r.senders, s)
		wg.Go(func() { s.loop(ctx) })
	}
	wg.Wait()
	r.elapsed += time.Since(schedule.start)
	bar()
}

func (r *Session) sender(i int, schedule *schedule) *sender {
	return &sender{
		session: r, conn: conn{addr: r.host, timeout: r.cfg.Timeout}, schedule: schedule,
		request: newRequest(r.host, r.cfg.Token, r.name, r.cfg.Payload, r.cfg.Batch), first: i, next: i, step: r.cfg.Connections,
		tally: tally{refused: map[string]uint64{}, latency: hdrhistogram.New(histogramMin, histogramMax, histogramDigits)},
	}
}

func (s *sender) loop(ctx context.Context) {
	defer s.conn.close()
	for {
		due, ok := s.schedule.due(ctx)
		if !ok {
			return
		}
		if !s.fill() {
			s.idle = true
			return
		}
		if !s.send(due) && !pause(ctx, refusedPause) {
			return
		}
	}
}

// fill puts triggers of the sender's next users into the request; false if there are not as many who may get one.
func (s *sender) fill() bool {
	s.batch = s.batch[:0]
	for i := range s.request.items {
		user, ok := s.user()
		if !ok || slices.Contains(s.batch, user) {
			return false
		}
		s.batch = append(s.batch, user)
		s.request.put(i, user, s.session.users[user].sent+1)
	}
	return true
}

// user is the next of the sender's users who may get a trigger.
func (s *sender) user() (int, bool) {
	for range len(s.session.users)/s.step + 1 {
		n := s.next
		if s.next += s.step; s.next >= len(s.session.users) {
			s.next = s.first
		}
		if s.session.users[n].unknown == nil {
			return n, true
		}
	}
	return 0, false
}

// send sends the request and notes the answers; false if nothing of it was accepted.
func (s *sender) send(due time.Time) bool {
	status, body, err := s.conn.exchange(s.request.bytes)
	switch {
	case errors.Is(err, errNotSent):
		s.tally.refused["no_connection"]++
		return false
	case err != nil:
		for _, user := range s.batch {
			s.lose(&s.session.users[user], "")
		}
		return false
	case len(s.batch) == 1:
		return s.answered(s.batch[0], due, status, body)
	case status != 200:
		s.tally.refused[fmt.Sprintf("%d %s", status, field(body, "code"))]++
		return false
	}
	return s.answeredAll(due, body)
}

// answeredAll takes a batch's answers apart.
func (s *sender) answeredAll(due time.Time, body []byte) (accepted bool) {
	r := strictjson.NewReader(body, answerDepth)
	err := r.Open('[')
	for i := 0; err == nil && i < len(s.batch); i++ {
		var item []byte
		if _, err = r.Element(); err == nil {
			item, err = r.Value()
		}
		if err == nil {
			_, status, _ := bytes.Cut(item[:min(len(item), len(`{"status":200`))], []byte(":"))
			code, _ := strconv.Atoi(string(status))
			accepted = s.answered(s.batch[i], due, code, item) || accepted
		}
	}
	if err != nil {
		s.broken(s.batch[0], fmt.Sprintf("answer to a batch cannot be read: %v", err))
	}
	return accepted
}

// answerDepth is how deep answers are nested at most.
const answerDepth = 8

// answered notes what was said of one trigger; false if it was not accepted.
func (s *sender) answered(user int, due time.Time, status int, body []byte) bool {
	l := &s.session.users[user]
	if status != 200 {
		s.refused(l, status, body)
		return false
	}
	_ = s.tally.latency.RecordValue(min(histogramMax, max(histogramMin, time.Since(due).Microseconds())))
	s.tally.accepted++
	s.session.accepted.Add(1)
	if !s.session.baseline {
		s.note(l, user, body)
	}
	return true
}

// note holds an answer against what the user was promised before.
func (s *sender) note(l *ledger, user int, body []byte) {
	id, err := record.ParseID(string(field(body, "trigger_id")))
	if err != nil {
		s.broken(user, fmt.Sprintf("answer 200 without a trigger_id: %.200q", body))
		return
	}
	if text := l.accept(id); text != "" {
		s.broken(user, text)
	}
}

func (s *sender) refused(l *ledger, status int, body []byte) {
	code := string(field(body, "code"))
	if code == "unknown_outcome" {
		s.lose(l, string(field(body, "receipt")))
		return
	}
	s.tally.refused[fmt.Sprintf("%d %s", status, code)]++
}

func (s *sender) lose(l *ledger, receipt string) {
	s.tally.unknown++
	l.lose(receipt)
}

func (s *sender) broken(user int, text string) {
	s.tally.broken = append(s.tally.broken, userName(s.session.name, user)+": "+text)
}

// field finds a string member in JSON of the server's own making, in which neither name nor value has anything escaped.
func field(body []byte, name string) []byte {
	_, rest, found := bytes.Cut(body, []byte(`"`+name+`":"`))
	if !found {
		return nil
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return value
}
