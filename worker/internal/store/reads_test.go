package store

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// compareReads asks two stores everything that can be asked about a log.
func compareReads(t rapid.TB, log []machine.Message, want, got machine.Store) {
	t.Helper()
	compareAnswers(t, "next due", nextDue(want), nextDue(got))
	for _, account := range []string{"acme", "zoo", "nobody"} {
		for _, user := range []string{"ann", "bob", "zoë"} {
			compareAnswers(t, "user "+account+" "+user, userOf(want, account, user), userOf(got, account, user))
		}
	}
	for _, whose := range machinetest.Users {
		for _, key := range append(machinetest.Keys, "never") {
			compareAnswers(t, "key "+key+" of "+whose[0]+"/"+whose[1], keyOf(want, whose, key), keyOf(got, whose, key))
		}
	}
	for _, msg := range log {
		batch, _ := record.ParseBatch(msg.Header, msg.Payload)
		compareAnswers(t, "batch", batchOf(want, batch), batchOf(got, batch))
		for index := range uint32(batch.Count + 1) {
			p := record.Position{Seq: msg.Seq, Index: index}
			compareAnswers(t, "outcome "+machinetest.Pos(p), outcomeOf(want, p), outcomeOf(got, p))
			compareAnswers(t, "due of "+machinetest.Pos(p), dueOf(want, p), dueOf(got, p))
		}
	}
	for _, limit := range []int{0, 1, 3, 1000} {
		compareAnswers(t, "dead letters", deadOf(want, limit), deadOf(got, limit))
	}
}

func compareAnswers(t rapid.TB, what, want, got string) {
	t.Helper()
	if want != got {
		t.Fatalf("%s: got %s, want %s", what, got, want)
	}
}

func keyOf(s machine.Store, whose [2]string, key string) string {
	k, ok, err := s.Key([]byte(whose[0]), []byte(whose[1]), []byte(key))
	return fmt.Sprintf("%+v %t %v", k, ok, err)
}

func nextDue(s machine.Store) string {
	d, account, user, ok, err := s.NextDue()
	return fmt.Sprintf("%+v %s %s %t %v", d, account, user, ok, err)
}

func userOf(s machine.Store, account, user string) string {
	u, err := s.User([]byte(account), []byte(user))
	if u == nil {
		return fmt.Sprint(nil, err)
	}
	return machinetest.DumpUser(account, user, u) + fmt.Sprint(err)
}

func outcomeOf(s machine.Store, p record.Position) string {
	out, ok, err := s.Outcome(p)
	return fmt.Sprint(machinetest.DumpOutcome(out), ok, err)
}

func dueOf(s machine.Store, p record.Position) string {
	d, account, user, ok, err := s.DueOf(p)
	return fmt.Sprintf("%+v %s %s %t %v", d, account, user, ok, err)
}

func batchOf(s machine.Store, b record.Batch) string {
	return fmt.Sprint(s.Batch(b.Writer, b.Number))
}

func deadOf(s machine.Store, limit int) string {
	letters, err := s.DeadLetters(limit)
	text := fmt.Sprint(err)
	for _, l := range letters {
		text += machinetest.DumpDeadLetter(l)
	}
	return text
}
