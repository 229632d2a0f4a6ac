package loadgen

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// keepForLater remembers the accepted ones of the triggers in hand, to send them again after some more requests.
func (s *sender) keepForLater() {
	at := s.requests + 1 + s.random.IntN(laterMost)
	for _, it := range s.items {
		p := &s.session.history.users[it.user]
		if p.last == it.seq && len(p.recent) > 0 && p.recent[len(p.recent)-1].sure {
			s.later = append(s.later, repeat{at, it, p.recent[len(p.recent)-1].id})
		}
	}
}

// repeatLater sends what is to be sent again by now. A repeat without an answer is let go: it must have no effect in any case.
func (s *sender) repeatLater() {
	for len(s.later) > 0 {
		i := slices.IndexFunc(s.later, func(r repeat) bool { return r.at <= s.requests })
		if i < 0 {
			return
		}
		r := s.later[i]
		s.later = slices.Delete(s.later, i, i+1)
		s.items = append(s.items[:0], r.item)
		s.due = time.Now()
		s.sent = s.due
		s.tally.again++
		a, err := s.conn.exchange(s.request.render(s.conn.host(), s.items))
		s.repeated(&r, a, err)
	}
}

// repeated holds the answer to a repeat against the first one.
func (s *sender) repeated(r *repeat, a *answer, err error) {
	if err != nil {
		code := "no_answer"
		if errors.Is(err, errNotSent) {
			code = "no_connection"
		}
		s.tally.refused[code]++
		s.count(ClassRefused)
		return
	}
	status, code := a.status, string(field(a.body, "code"))
	if s.request.batch && status == 200 {
		status = number(a.body, "status")
	}
	id, parseErr := record.ParseID(string(field(a.body, "trigger_id")))
	switch {
	case status == 200 && parseErr == nil:
		s.session.history.repeated(r.user, r.first, id, a.replayed)
		s.unmarked(r, a, id)
		s.line(lineRepeated, &r.item, func(b []byte) []byte {
			mark := map[bool]string{false: "0", true: "1"}[a.replayed]
			return appendWord(appendID(appendID(b, r.first), id), mark)
		})
		s.count(ClassRepeated)
	case status == 503 || status == 429:
		s.tally.refused[strconv.Itoa(status)+" "+code]++
		s.count(ClassRefused)
	default:
		code = strconv.Itoa(status) + " " + code
		s.session.history.denied(r.user, r.first, code)
		s.line(lineDenied, &r.item, func(b []byte) []byte { return appendWord(appendID(b, r.first), code) })
		s.tally.refused[code]++
		s.count(ClassRefused)
	}
}

// unmarked: an answer that repeats the first one says so in a header. Items of a batch have none.
func (s *sender) unmarked(r *repeat, a *answer, id record.ID) {
	if id == r.first && !a.replayed && !s.request.batch {
		s.odd(&r.item, "its repeat is answered with "+id.String()+" without Idempotency-Replayed")
	}
}
