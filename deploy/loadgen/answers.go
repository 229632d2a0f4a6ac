package loadgen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
)

// receive takes the answers to items, and returns those that are worth another attempt, after those that are already: what was accepted by
// another attempt is not.
func (s *sender) receive(c *conn, items []item, err error, again []item) []item {
	var a *answer
	if err == nil {
		a, err = c.receive()
	}
	if err == nil && s.request.batch && a.status == 200 {
		return s.receiveBatch(a, items, again)
	}
	for i := range items {
		switch {
		case errors.Is(err, errNotSent):
			again = s.refused(&items[i], "no_connection", true, again)
		case err != nil:
			again = s.lost(&items[i], "", again)
		default:
			again = s.answered(&items[i], a, a.status, a.body, again)
		}
	}
	return again
}

// answerDepth is how deep answers are nested at most.
const answerDepth = 8

// receiveBatch takes a batch's answers apart. Of what cannot be read the outcome is not known.
func (s *sender) receiveBatch(a *answer, items, again []item) []item {
	r := strictjson.NewReader(a.body, answerDepth)
	err := r.Open('[')
	for i := range items {
		var body []byte
		if err == nil {
			_, err = r.Element()
		}
		if err == nil {
			body, err = r.Value()
		}
		if err != nil {
			s.odd(&items[i], fmt.Sprintf("answer to a batch cannot be read: %v", err))
			again = s.lost(&items[i], "", again)
			continue
		}
		again = s.answered(&items[i], a, number(body, "status"), body, again)
	}
	return again
}

// answered notes what was said of one trigger.
func (s *sender) answered(it *item, a *answer, status int, body []byte, again []item) []item {
	if status == 200 {
		return s.accepted(it, a.replayed, body, again)
	}
	s.rest = max(s.rest, a.retryAfter)
	code := string(field(body, "code"))
	if code == "unknown_outcome" {
		return s.lost(it, string(field(body, "receipt")), again)
	}
	return s.refused(it, strconv.Itoa(status)+" "+code, status == 429 || status == 503, again)
}

func (s *sender) accepted(it *item, replayed bool, body []byte, again []item) []item {
	again = slices.DeleteFunc(again, func(other item) bool { return other.user == it.user }) // its twin was not
	if s.session.baseline {
		s.count(ClassAccepted)
		return again
	}
	id, err := record.ParseID(string(field(body, "trigger_id")))
	if err != nil {
		s.odd(it, fmt.Sprintf("answer 200 without a trigger_id: %.200q", body))
		return s.lost(it, "", again)
	}
	p := &s.session.history.users[it.user]
	class, kind := ClassAccepted, byte(lineAccepted)
	if replayed {
		kind = lineReplayed
	}
	if p.last == it.seq {
		class = ClassRepeated
	}
	s.session.history.accepted(it.user, id, replayed)
	s.line(kind, it, func(b []byte) []byte { return appendID(b, id) })
	s.count(class)
	return again
}

func (s *sender) refused(it *item, code string, forNow bool, again []item) []item {
	s.tally.refused[code]++
	s.count(ClassRefused)
	if s.session.baseline {
		return again
	}
	p := &s.session.history.users[it.user]
	p.refuse()
	s.session.history.refused()
	s.line(lineRefused, it, func(b []byte) []byte { return appendWord(b, code) })
	if forNow && p.last != it.seq {
		again = once(again, it)
	}
	return again
}

// once adds an item unless its user has one: two attempts at once need not both be repeated.
func once(again []item, it *item) []item {
	if slices.ContainsFunc(again, func(other item) bool { return other.user == it.user }) {
		return again
	}
	return append(again, *it)
}

// lost notes that an attempt's outcome is not known. With a key it is simply sent again; with a receipt it is asked for.
func (s *sender) lost(it *item, receipt string, again []item) []item {
	s.count(ClassUnknown)
	if s.session.baseline {
		return again
	}
	p := &s.session.history.users[it.user]
	p.lose(receipt)
	s.line(lineLost, it, func(b []byte) []byte { return appendWord(b, receipt) })
	switch {
	case p.last == it.seq: // by the other one of two at once
	case it.keyed:
		again = once(again, it)
	case receipt != "" && !it.keyed:
		s.follow(it, receipt)
	}
	return again
}

// followTime is how long a receipt is asked for before the audit does.
const followTime = 5 * time.Second

// follow asks what became of a trigger with a receipt, so that its user can go on.
func (s *sender) follow(it *item, receipt string) {
	ctx, cancel := context.WithTimeout(context.Background(), followTime)
	defer cancel()
	f, err := s.session.api.outcome(ctx, receipt, "3s")
	if err != nil {
		return
	}
	if id, err := record.ParseID(f.TriggerID); err == nil {
		s.session.history.users[it.user].begin(it.seq)
		s.session.history.accepted(it.user, id, true)
		s.line(lineBegin, it, func(b []byte) []byte { return b })
		s.line(lineReplayed, it, func(b []byte) []byte { return appendID(b, id) })
	}
}

// odd notes an answer that makes no sense.
func (s *sender) odd(it *item, text string) {
	s.session.history.breach(it.user, breach{Answers, text})
	s.line(lineOdd, it, func(b []byte) []byte { return appendWord(b, text) })
}

// line notes something for the ledger; it is written with the next request.
func (s *sender) line(kind byte, it *item, rest func([]byte) []byte) {
	if s.session.ledger != nil {
		s.lines = append(rest(appendLine(s.lines, kind, it.user, it.seq)), '\n')
	}
}

// count notes one answer.
func (s *sender) count(class string) {
	now := time.Now()
	s.session.fromDue.note(s.number, class, now.Sub(s.due))
	if s.schedule.interval > 0 {
		s.session.fromSent.note(s.number, class, now.Sub(s.sent))
	}
	switch class {
	case ClassAccepted:
		s.tally.accepted++
		s.session.accepted.Add(1)
	case ClassRepeated:
		s.tally.repeated++
	case ClassRefused:
		s.session.refused.Add(1)
	case ClassUnknown:
		s.tally.unknown++
		s.session.unknown.Add(1)
	}
}
