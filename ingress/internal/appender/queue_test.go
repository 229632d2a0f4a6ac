package appender

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestQueueAgainstAModel: whatever is pushed, popped, withdrawn and expired, every call comes out exactly once, in its
// account's order, usual before bulk.
func TestQueueAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, clock := newQueue(), time.Unix(0, 0)
		var waiting []*call // the model: in order of arrival
		take := func(c *call) {
			for i, w := range waiting {
				if w == c {
					waiting = append(waiting[:i], waiting[i+1:]...)
					return
				}
			}
			t.Fatalf("a call came out that was not in the queue")
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				clock = clock.Add(time.Second)
				c := &call{
					account:  rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "account"),
					class:    rapid.SampledFrom([]class{usual, bulk}).Draw(t, "class"),
					line:     make([]byte, rapid.IntRange(0, 9).Draw(t, "size")),
					deadline: clock.Add(time.Minute),
				}
				q.push(c)
				waiting = append(waiting, c)
			},
			"pop": func(t *rapid.T) {
				if q.peek() == nil {
					return
				}
				c := q.pop()
				for _, w := range waiting {
					if w.class < c.class {
						t.Fatal("bulk before usual")
					}
					if w.class == c.class && w.account == c.account {
						if w != c {
							t.Fatal("out of its account's order")
						}
						break
					}
				}
				take(c)
			},
			"withdraw": func(t *rapid.T) {
				if len(waiting) == 0 {
					return
				}
				c := waiting[rapid.IntRange(0, len(waiting)-1).Draw(t, "which")]
				q.remove(c)
				take(c)
			},
			"expire": func(t *rapid.T) {
				now := clock.Add(time.Duration(rapid.IntRange(40, 61).Draw(t, "seconds")) * time.Second)
				q.expire(now, take)
				for _, w := range waiting {
					if !w.deadline.After(now) {
						t.Fatal("an expired call is still in the queue")
					}
				}
			},
			"": func(t *rapid.T) { q.check(t, waiting) },
		})
	})
}

func (q *queue) check(t *rapid.T, waiting []*call) {
	bytes, lanes := 0, map[string]bool{}
	for _, c := range waiting {
		bytes += len(c.line)
		lanes[c.account+string(rune('0'+c.class))] = true
	}
	if q.records != len(waiting) || q.bytes != bytes {
		t.Fatalf("%d records of %d bytes, want %d of %d", q.records, q.bytes, len(waiting), bytes)
	}
	if n := len(q.rings[usual].lanes) + len(q.rings[bulk].lanes); n != len(lanes) {
		t.Fatalf("%d lanes, want %d", n, len(lanes))
	}
	for _, account := range []string{"a", "b", "c"} {
		own, ownBytes := 0, 0
		for _, c := range waiting {
			if c.account == account {
				own, ownBytes = own+1, ownBytes+len(c.line)
			}
		}
		if r, b := q.room(account, 1000, 1000); r != 1000-q.records-own || b != 1000-q.bytes-ownBytes {
			t.Fatalf("room for %s: %d records, %d bytes", account, r, b)
		}
	}
	if (q.peek() == nil) != (len(waiting) == 0) {
		t.Fatal("peek and the count disagree")
	}
}

// TestQueueTurns: with n accounts waiting, n calls that leave are of n accounts.
func TestQueueTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		counts := rapid.SliceOfN(rapid.IntRange(1, 6), 1, 6).Draw(t, "calls of each account")
		for account, n := range counts {
			for range n {
				q.push(&call{account: string(rune('a' + account))})
			}
		}
		for round := 0; q.peek() != nil; round++ {
			seen := map[string]bool{}
			for _, n := range counts {
				if n > round {
					seen[q.pop().account] = true
				}
			}
			for account, n := range counts {
				if n > round && !seen[string(rune('a'+account))] {
					t.Fatalf("account %d had no turn in round %d", account, round)
				}
			}
		}
	})
}
