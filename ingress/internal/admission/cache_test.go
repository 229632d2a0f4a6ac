package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/triggerd/triggerd/shared/statequery"
)

func TestCacheIsBounded(t *testing.T) {
	c := newCache(1000, time.Hour)
	for i := range 100_000 {
		c.learn(statequery.User{Account: "demo", User: fmt.Sprint("u", i)})
	}
	if n := c.count((*shard).entries); n > 1000 {
		t.Errorf("%v entries in a cache of 1000", n)
	}
	if !c.has(statequery.User{Account: "demo", User: "u99999"}) {
		t.Error("the newest entry was dropped")
	}
}

func TestCacheForgetsByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(1<<16, 30*time.Second)
		c.learn(statequery.User{Account: "demo", User: "alice"})
		<-time.After(20 * time.Second)
		c.learn(statequery.User{Account: "demo", User: "bob"})
		<-time.After(10*time.Second - 1)
		if !c.has(statequery.User{Account: "demo", User: "alice"}) || !c.has(statequery.User{Account: "demo", User: "bob"}) {
			t.Error("forgotten before its time")
		}
		<-time.After(1)
		if c.has(statequery.User{Account: "demo", User: "alice"}) || !c.has(statequery.User{Account: "demo", User: "bob"}) {
			t.Error("known beyond its time")
		}
		// Entries that have expired leave the memory when others come.
		for range 3 {
			<-time.After(30 * time.Second)
			for i := range 1000 {
				c.learn(statequery.User{Account: "demo", User: fmt.Sprint("u", i)})
			}
		}
		s, bob := c.of(statequery.User{Account: "demo", User: "bob"})
		_, young := s.young[bob]
		_, old := s.old[bob]
		if young || old {
			t.Error("expired entry is still kept")
		}
	})
}

func TestCacheKeepsAccountsApart(t *testing.T) {
	c := newCache(1000, time.Hour)
	c.learn(statequery.User{Account: "ab", User: "c"})
	for _, other := range [][2]string{{"a", "bc"}, {"abc", ""}, {"c", "ab"}, {"", "abc"}} {
		if c.has(statequery.User{Account: other[0], User: other[1]}) {
			t.Errorf("%q is taken for ab, c", other)
		}
	}
}

func TestCacheTakesNoAnswerFromBeforeAForget(t *testing.T) {
	c := newCache(1000, time.Hour)
	who := statequery.User{Account: "demo", User: "alice"}
	before := c.token(who)
	c.forget(statequery.User{Account: "demo", User: "alice"})
	c.put(who, before)
	if c.has(statequery.User{Account: "demo", User: "alice"}) {
		t.Error("an answer from before the deletion was cached")
	}
	c.put(who, c.token(who))
	if !c.has(statequery.User{Account: "demo", User: "alice"}) {
		t.Error("an answer from after the deletion was not cached")
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	c := newCache(1000, time.Hour)
	c.learn(statequery.User{Account: "demo", User: "alice"})
	a := &Admission{cache: c}
	if n := testing.AllocsPerRun(100, func() { a.User(t.Context(), 0, "demo", "alice") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkHit is a hit among 100 000 users, of whom some are asked for again and again, or all in turn. The names are at hand, as they are after
// decoding a request.
func BenchmarkHit(b *testing.B) {
	const users = 100_000
	a := &Admission{cache: newCache(DefaultCacheUsers, time.Hour)}
	for i := range users {
		a.Learn("demo", fmt.Sprintf("user-%08d", i))
	}
	for name, asked := range map[string]int{"hot": 1000, "cold": users} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ctx := b.Context()
			b.RunParallel(func(pb *testing.PB) {
				digits := []byte("user-00000000")
				user := unsafe.String(&digits[0], len(digits))
				for i := 0; pb.Next(); i = (i + 7919) % asked {
					for d, n := len(digits)-1, i; n > 0; d, n = d-1, n/10 {
						digits[d] = '0' + byte(n%10)
					}
					if a.User(ctx, 0, "demo", user) != Known {
						b.Fail()
					}
					copy(digits[5:], "00000000")
				}
			})
		})
	}
}
