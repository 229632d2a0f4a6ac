package machine_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// dayZero is the day of all scenarios.
var dayZero = time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)

// envelope is what a line says about its message: [writer A, batch 3, clock 09:00:00].
type envelope struct {
	at    machine.Millis
	batch record.Batch
	lines [][]byte
	spoil string // makes the message unreadable: frame, version, header
}

// clock parses 10:00:00 or 10:00:00.250, with +1d in front of it for the next day.
func (s *stage) clock(text string) machine.Millis {
	day := dayZero
	if days, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.Atoi(strings.TrimPrefix(days, "+"))
		s.check(err)
		day, text = day.AddDate(0, 0, n), rest
	}
	at, err := time.Parse("15:04:05.999", text)
	s.check(err)
	return day.Add(at.Sub(at.Truncate(24 * time.Hour))).UnixMilli()
}

// clockText is the reverse.
func clockText(at machine.Millis) string {
	t := time.UnixMilli(at).UTC()
	text := t.Format("15:04:05.999")
	if days := int(t.Sub(dayZero).Hours()) / 24; days != 0 {
		return fmt.Sprintf("+%dd%s", days, text)
	}
	return text
}

// envelope reads the options in brackets at the end of a message's first line.
func (s *stage) envelope(line string) (rest string, e *envelope) {
	rest, options, found := strings.Cut(line, " [")
	clock, rest, _ := strings.Cut(rest, " ")
	e = &envelope{at: s.clock(clock)}
	e.batch = record.Batch{Writer: "w", Time: e.at}
	if !found {
		return strings.TrimSpace(rest), e
	}
	for _, option := range strings.Split(strings.TrimSuffix(options, "]"), ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(option), " ")
		switch key {
		case "writer":
			e.batch.Writer = value
		case "batch":
			n, err := strconv.ParseUint(value, 10, 64)
			s.check(err)
			e.batch.Number = n
		case "clock":
			e.batch.Time = s.clock(value)
		case "spoilt":
			e.spoil = value
		default:
			s.fail("unknown option %q", key)
		}
	}
	return strings.TrimSpace(rest), e
}

// message is the envelope's message as the server stored it.
func (e *envelope) message(seq uint64) machine.Message {
	msg := machinetest.Raw(seq, e.at, e.batch, e.lines...)
	switch e.spoil {
	case "frame":
		msg.Header[record.HeaderCount] = []string{strconv.Itoa(len(e.lines) + 1)}
	case "version":
		msg.Header[record.HeaderVersion] = []string{"99"}
	case "header":
		delete(msg.Header, record.HeaderWriter)
	}
	return msg
}

// line turns a sentence into a line of the log:
//
//	trigger alice: set paid=true, go to 656041 of shop after 3s
//	register alice: at 21890 of shop, set name="A"
//	delete alice
//	tick
//	trigger alice: set paid=true, keyed order-17        (by default the fingerprint is the key's own; keyed order-17 printed 2)
//	limits: variables=100 waiting=2 keep=1h machine=1 keys=5 remember=24h
//	line {"anything":"as it is"}
func (s *stage) line(e *envelope, sentence string) []byte {
	if raw, ok := strings.CutPrefix(sentence, "line "); ok {
		return []byte(raw)
	}
	head, rest, _ := strings.Cut(sentence, ":")
	verb, who, _ := strings.Cut(head, " ")
	kinds := map[string]record.Kind{"trigger": record.Trigger, "register": record.Register,
		"delete": record.Delete, "tick": record.Tick, "limits": record.Configure}
	r := record.Record{Kind: kinds[verb]}
	if r.Kind == 0 {
		s.fail("unknown verb %q", verb)
	}
	if who != "" {
		account, user := whose(who)
		r.Account, r.User = []byte(account), []byte(user)
	}
	if r.Kind == record.Configure {
		r.Limits = s.limits(rest)
	} else {
		for _, clause := range splitOutside(rest, ',') {
			s.clause(&r, splitOutside(clause, ' '))
		}
	}
	e.batch.Version = max(e.batch.Version, r.Version())
	return r.AppendTo(nil)
}

// whose reads alice (of account demo) or zoo/alice.
func whose(who string) (account, user string) {
	if account, user, ok := strings.Cut(who, "/"); ok {
		return account, user
	}
	return "demo", who
}

func (s *stage) clause(r *record.Record, words []string) {
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch word {
		case "set":
			for _, w := range words {
				name, value, _ := strings.Cut(w, "=")
				r.Vars = append(r.Vars, record.Var{Name: []byte(name), Value: []byte(value)})
			}
			return
		case "go":
			r.Redirect = true
			continue
		case "redirect", "nothing":
			continue
		}
		if len(words) == 0 {
			s.fail("%q needs a word after it", word)
		}
		s.detail(r, word, words[0])
		words = words[1:]
	}
}

func (s *stage) detail(r *record.Record, word, value string) {
	var err error
	switch word {
	case "to", "at":
		r.Module, err = strconv.ParseInt(value, 10, 64)
		r.HasModule = true
	case "of":
		r.Bot = []byte(value)
	case "after":
		var wait time.Duration
		wait, err = time.ParseDuration(value)
		r.Wait = wait.Milliseconds()
	case "keyed":
		r.Key, r.Print = []byte(value), []byte("print-of-"+value)
	case "printed":
		r.Print = []byte(value)
	case "traced":
		r.Trace = []byte(value)
	default:
		s.fail("unknown word %q", word)
	}
	s.check(err)
}

func (s *stage) limits(text string) record.Limits {
	l := machinetest.Defaults
	for _, word := range strings.Fields(text) {
		name, value, _ := strings.Cut(word, "=")
		if name == "keep" || name == "remember" {
			d, err := time.ParseDuration(value)
			s.check(err)
			if name == "keep" {
				l.OutcomesKeep = d.Milliseconds()
			} else {
				l.KeysKeep = d.Milliseconds()
			}
			continue
		}
		n, err := strconv.Atoi(value)
		s.check(err)
		switch name {
		case "variables":
			l.MaxUserBytes = int64(n)
		case "waiting":
			l.MaxPending = n
		case "machine":
			l.Machine = n
		case "keys":
			l.MaxKeys = int64(n)
		default:
			s.fail("unknown limit %q", name)
		}
	}
	return l
}

// splitOutside splits at sep outside of quotes and brackets, and drops what is empty.
func splitOutside(text string, sep byte) (parts []string) {
	depth, quoted, start := 0, false, 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) {
			switch c := text[i]; {
			case c == '"':
				quoted = !quoted
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				depth--
			}
			if text[i] != sep || quoted || depth > 0 {
				continue
			}
		}
		if part := strings.TrimSpace(text[start:i]); part != "" {
			parts = append(parts, part)
		}
		start = i + 1
	}
	return parts
}

func (s *stage) check(err error) {
	if err != nil {
		s.fail("%v", err)
	}
}

func (s *stage) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("line %d: "+format, append([]any{s.lineNumber}, args...)...)
}
