package appender_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/record"
)

// Every returned position holds the caller's record; concurrent callers share messages.
func TestConcurrentCallersArePacked(t *testing.T) {
	const callers, each = 64, 20
	r := newRig(t, unhurried)
	got := make([]map[string]record.Position, callers)
	var all sync.WaitGroup
	for i := range callers {
		got[i] = map[string]record.Position{}
		all.Go(func() {
			for j := range each {
				user := name(name("u", i)+"-", j)
				pos, err := r.app.Append(t.Context(), 0, name("account", i%7), line(user))
				if err != nil {
					t.Error(err)
				}
				got[i][user] = pos
			}
		})
	}
	all.Wait()
	at, messages := map[string]record.Position{}, map[uint64]bool{}
	entries := r.entries()
	for _, e := range entries {
		at[e.user], messages[e.Seq] = e.Position, true
	}
	for _, mine := range got {
		for user, pos := range mine {
			if at[user] != pos {
				t.Errorf("%s was promised at %v and lies at %v", user, pos, at[user])
			}
		}
	}
	if len(at) != callers*each || len(entries) != callers*each {
		t.Errorf("%d records of %d users in the log, want %d", len(entries), len(at), callers*each)
	}
	if len(messages)*4 > len(entries) {
		t.Errorf("%d messages for %d records: not packed", len(messages), len(entries))
	}
	checkOrder(t, entries)
}

// What waits behind a batch leaves as one batch, in the order of the calls.
func TestWhatWaitsIsOneBatchInOrder(t *testing.T) {
	r := newRig(t, unhurried)
	first := r.stuck("first")
	var waiting []<-chan result
	want := []string{"first"}
	for i := range 10 {
		waiting = append(waiting, r.call("demo", name("u", i)))
		r.queued(i + 1)
		want = append(want, name("u", i))
	}
	r.proxy.Release()
	seq := (<-first).pos.Seq
	for i, w := range waiting {
		if res := <-w; res.err != nil || res.pos != (record.Position{Seq: seq + 1, Index: uint32(i)}) {
			t.Errorf("record %d is at %v, %v", i, res.pos, res.err)
		}
	}
	if diff := cmp.Diff(want, users(r.entries())); diff != "" {
		t.Error(diff)
	}
}

// One account's flood does not stand in front of the others.
func TestAccountsTakeTurns(t *testing.T) {
	r := newRig(t, appender.Config{Timeout: patient, StallAfter: patient, BatchRecords: 6})
	calls := []<-chan result{r.stuck("first")}
	n := 0
	add := func(account, user string) {
		calls = append(calls, r.call(account, user))
		n++
		r.queued(n)
	}
	for i := range 10 {
		add("flood", name("f", i))
	}
	for i := range 2 {
		add("a", name("a", i))
		add("b", name("b", i))
	}
	r.proxy.Release()
	for _, c := range calls {
		if res := <-c; res.err != nil {
			t.Fatal(res.err)
		}
	}
	want := []string{"first", "f0", "a0", "b0", "f1", "a1", "b1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9"}
	if diff := cmp.Diff(want, users(r.entries())); diff != "" {
		t.Error(diff)
	}
}

// An import stands behind everybody, the account's own triggers included.
func TestBulkComesLast(t *testing.T) {
	r := newRig(t, appender.Config{Timeout: patient, StallAfter: patient, BatchRecords: 3})
	first := r.stuck("first")
	var all sync.WaitGroup
	add := func(appendTo func(context.Context, int, string, []byte) (record.Position, error), user string, n int) {
		all.Go(func() {
			if _, err := appendTo(t.Context(), 0, "demo", line(user)); err != nil {
				t.Error(err)
			}
		})
		r.queued(n)
	}
	for i := range 4 {
		add(r.app.AppendBulk, name("bulk", i), i+1)
	}
	add(r.app.Append, "a", 5)
	add(r.app.Append, "b", 6)
	r.proxy.Release()
	<-first
	all.Wait()
	want := []string{"first", "a", "b", "bulk0", "bulk1", "bulk2", "bulk3"}
	if diff := cmp.Diff(want, users(r.entries())); diff != "" {
		t.Error(diff)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	const batchBytes = 2000
	r := newRig(t, appender.Config{Timeout: patient, StallAfter: patient, BatchRecords: 3, BatchBytes: batchBytes})
	calls := []<-chan result{r.stuck("first")}
	long, huge := make([]byte, 960), make([]byte, 2500)
	for i := range long {
		long[i] = 'x'
	}
	for i := range huge {
		huge[i] = 'y'
	}
	for i, user := range []string{"1", "2", "3", "4", string(long), string(long), string(huge), "5"} {
		calls = append(calls, r.call("demo", user))
		r.queued(i + 1)
	}
	r.proxy.Release()
	for _, c := range calls {
		if res := <-c; res.err != nil {
			t.Fatal(res.err)
		}
	}
	entries, counts := r.entries(), map[uint64]int{}
	for _, e := range entries {
		counts[e.Seq]++
		if len(e.batch.Payload) > batchBytes && e.batch.Count != 1 {
			t.Errorf("batch %d has %d records and %d bytes", e.batch.Number, e.batch.Count, len(e.batch.Payload))
		}
		if e.batch.Count > 3 {
			t.Errorf("batch %d has %d records", e.batch.Number, e.batch.Count)
		}
	}
	var shape []int
	for _, e := range entries {
		if e.Index == 0 {
			shape = append(shape, counts[e.Seq])
		}
	}
	if diff := cmp.Diff([]int{1, 3, 2, 1, 1, 1}, shape); diff != "" {
		t.Errorf("records per batch (-want +got):\n%s", diff)
	}
}
