package partition

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
)

func keyed(user, key, print string) record.Record {
	r := trigger(user, 1, 0)
	r.Key, r.Print = []byte(key), []byte(print)
	return r
}

func check(key string) statequery.Check {
	return statequery.Check{Account: account, User: "user-0", Key: key}
}

// What is known of a key is said at once; that it is not known, only when everything is applied that was in the log.
func TestQuestionsAboutKeys(t *testing.T) {
	r := newRig(t)
	r.append(users(1)...)
	seq := r.append(keyed("user-0", "k1", "p1"), keyed("nobody", "k2", "p2"))
	r.start(r.file()).serving()
	reply, err := r.ask(statequery.Request{WaitMillis: 5000, Check: []statequery.Check{
		check("k1"), {Account: account, User: "user-0"}, check("new"), {Account: account, User: "nobody", Key: "k2"}, {Account: "other", User: "user-0", Key: "k1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	id := func(i uint32) string { return record.ID{Position: record.Position{Seq: seq, Index: i}}.String() }
	want := statequery.Reply{Applied: seq, Known: []bool{true, true, false, false, false}, KeysFull: true,
		Keys: []statequery.KnownKey{{TriggerID: id(0), Print: "p1"}, {}, {}, {TriggerID: id(1), Print: "p2"}, {}}}
	want.Known[2] = true
	if d := cmp.Diff(want, reply); d != "" {
		t.Error(d)
	}
	if _, err := r.ask(statequery.Request{Check: []statequery.Check{check("k1")}}); err != nil {
		t.Errorf("a known key is not said to be known at once: %v", err)
	}
	if _, err := r.ask(statequery.Request{Check: []statequery.Check{check("new")}}); !errors.Is(err, statequery.ErrBehind) {
		t.Errorf("an unknown key is said to be unknown at once: %v", err)
	}
}

// A key of a partition that has been silent since is known no more when its time is over, and takes up no room: nobody could use it, or any other, again
// if the answer went by stream time alone, because what is refused here never moves it.
func TestKeysOfASilentPartition(t *testing.T) {
	r := newRig(t)
	r.append(users(1)...)
	r.append(keyed("user-0", "k1", "p1"), keyed("user-0", "k2", "p2"))
	var late atomic.Int64 // added to the worker's clock
	x := r.start(r.file(), func(_ *Config, d *Deps) {
		d.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	}).serving()
	ask := func() statequery.Reply {
		t.Helper()
		reply, err := r.ask(statequery.Request{WaitMillis: 5000, Check: []statequery.Check{check("k1"), check("new")}})
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	if reply := ask(); reply.Keys[0].Print != "p1" || !reply.KeysFull {
		t.Errorf("before its time is over: %+v", reply)
	}
	late.Store(int64(24 * time.Hour))
	if reply := ask(); reply.Keys[0].TriggerID != "" {
		t.Errorf("after its time is over: %+v", reply)
	}
	late.Store(int64(26 * time.Hour))
	if reply := ask(); reply.KeysFull {
		t.Errorf("after its hour is over: %+v", reply)
	}
	if f := x.view.read(); f.keys != 2 || f.keysMax != 2 {
		t.Errorf("%d of %d keys are shown", f.keys, f.keysMax)
	}
}
