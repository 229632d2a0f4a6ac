package store

import (
	"fmt"
	"testing"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// A user that was read into the cache and then written to is never answered from there again, whatever generations
// come and go without the user.
func TestCacheForgetsWhoeverIsWrittenTo(t *testing.T) {
	s := openTemp(t, testOptions())
	acme, ann, bob := []byte("acme"), []byte("ann"), []byte("bob")
	version := func() uint64 {
		u, err := s.User(acme, ann)
		if err != nil || u == nil {
			t.Fatal(u, err)
		}
		return u.Version
	}
	s.PutUser(acme, ann, bigUser(1, 9))
	for seq := range uint64(2) { // the second lets ann leave the generation that was released last
		s.PutUser(acme, bob, bigUser(1, 9))
		mustCommit(t, s, machine.Head{Applied: seq + 1})
	}
	if got := version(); got != 1 { // into the cache
		t.Fatalf("version %d", got)
	}
	s.PutUser(acme, ann, bigUser(2, 9))
	for seq := range uint64(3) {
		if got := version(); got != 2 {
			t.Fatalf("version %d after %d checkpoints", got, seq)
		}
		s.PutUser(acme, bob, bigUser(2, 9))
		mustCommit(t, s, machine.Head{Applied: seq + 3})
	}
}

func TestCacheIsBounded(t *testing.T) {
	opts := testOptions()
	opts.CacheBytes = 10_000
	s := openTemp(t, opts)
	putBig(s, 500, 1, 100)
	mustCommit(t, s, machine.Head{Applied: 1})
	if s.cache.retired != nil {
		t.Error("a generation larger than the cache is kept")
	}
	for i := range 500 {
		if u, err := s.User([]byte("acme"), fmt.Appendf(nil, "user%05d", i)); err != nil || u == nil {
			t.Fatal(u, err)
		}
		if s.cache.bytes > opts.CacheBytes {
			t.Fatalf("%d bytes cached", s.cache.bytes)
		}
	}
	if len(s.cache.read) == 0 {
		t.Error("nothing is cached")
	}
}

func TestDirtyCountsTheActiveGeneration(t *testing.T) {
	s := openTemp(t, testOptions())
	putBig(s, 10, 1, 1000)
	users, bytes := s.Dirty()
	if users != 10 || bytes < 10_000 || bytes > 20_000 {
		t.Errorf("dirty: %d users, %d bytes", users, bytes)
	}
	putBig(s, 10, 2, 1000)
	if again, more := s.Dirty(); again != users || more != bytes {
		t.Errorf("dirty after the same again: %d users, %d bytes, before %d, %d", again, more, users, bytes)
	}
	mustCommit(t, s, machine.Head{Applied: 1})
	if users, bytes := s.Dirty(); users != 0 || bytes != 0 {
		t.Errorf("dirty after a checkpoint: %d users, %d bytes", users, bytes)
	}
}
