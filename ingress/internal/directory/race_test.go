package directory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
)

// Bots of two ingresses fight over a few ids. In no revision may an id be in two bots, and everyone who was told "declared" was so.
func TestIdsStayUniqueUnderRaces(t *testing.T) {
	const bots, ids, rounds = 6, 8, 30
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	srv := start(t)
	cfg := Config{DeclareTimeout: natstest.Patience}
	ingresses := []*Directory{ingress(t, srv, cfg), ingress(t, srv, cfg)}
	revisions := watchRevisions(t, srv)

	var fighters sync.WaitGroup
	for b := range bots {
		fighters.Go(func() {
			rng, bot := rand.New(rand.NewPCG(seed, uint64(b))), fmt.Sprint("bot-", b)
			for range rounds {
				set := randomSet(rng, ids)
				err := ingresses[rng.IntN(2)].Declare(t.Context(), "demo", bot, set)
				if errors.Is(err, ErrTaken) {
					continue
				}
				if err != nil {
					t.Errorf("declare: %v", err)
					return
				}
				// Only this goroutine declares this bot: what it was told must stand.
				got, ok, err := ingresses[rng.IntN(2)].Modules(t.Context(), "demo", bot)
				if err != nil || !ok || !index(map[string][]Module{bot: got}, 0).has(bot, set) {
					t.Errorf("declared %v, leader has %v, %v, %v", set, got, ok, err)
				}
			}
		})
	}
	fighters.Wait()

	last := readLast(t, ingresses[0])
	for cat := range revisions {
		assertUnique(t, cat)
		if cat.revision == last.revision {
			break
		}
	}
}

func randomSet(rng *rand.Rand, ids int) []Module {
	set := []Module{}
	for id := range ids {
		if rng.IntN(4) == 0 {
			set = append(set, Module{ID: int64(id), Name: fmt.Sprint(rng.IntN(3))})
		}
	}
	return set
}

func readLast(t *testing.T, d *Directory) *catalogue {
	t.Helper()
	cat, err := d.leader(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// watchRevisions hands out the revisions of the account that a watcher of its own sees.
func watchRevisions(t *testing.T, srv *natstest.Server) <-chan *catalogue {
	t.Helper()
	bucket, err := srv.JetStream().KeyValue(t.Context(), Bucket)
	if err != nil {
		t.Fatal(err)
	}
	w, err := bucket.WatchAll(t.Context(), jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan *catalogue, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for entry := range w.Updates() {
			cat, err := parse(entry.Value(), entry.Revision())
			if err != nil {
				t.Errorf("revision %d: %v", entry.Revision(), err)
				continue
			}
			out <- cat
		}
	}()
	t.Cleanup(func() { _ = w.Stop(); <-done })
	return out
}

func assertUnique(t *testing.T, cat *catalogue) {
	t.Helper()
	owner := map[int64]string{}
	for bot, modules := range cat.bots {
		for _, m := range modules {
			if other, twice := owner[m.ID]; twice {
				t.Errorf("revision %d: id %d in %s and %s", cat.revision, m.ID, bot, other)
			}
			owner[m.ID] = bot
		}
	}
}

func TestListingAgainRepairsAMissedChange(t *testing.T) {
	srv := start(t)
	d := ingress(t, srv, Config{RelistEvery: 20 * time.Millisecond})
	declare(t, d, "demo", "shop", Module{ID: 1})
	d.copy.mu.Lock()
	delete(d.copy.accounts, "demo") // as if no watch had brought it
	d.copy.mu.Unlock()
	natstest.Eventually(t, func() bool { _, ok := d.copy.bot("demo", 1); return ok }, "the copy has the module again")
}

func TestWatchBringsChangesAndDeletions(t *testing.T) {
	srv := start(t)
	one, other := ingress(t, srv, Config{}), ingress(t, srv, Config{})
	declare(t, one, "demo", "shop", Module{ID: 1})
	natstest.Eventually(t, func() bool { _, ok := other.copy.bot("demo", 1); return ok }, "the other's copy has the module")
	bucket, err := srv.JetStream().KeyValue(t.Context(), Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), key("demo")); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() bool { _, ok := other.copy.bot("demo", 1); return !ok }, "the other's copy has forgotten it")
	wantBot(t, deaf(t, srv, Config{}), "demo", 1, "")
	declare(t, one, "demo", "shop", Module{ID: 2}) // over the marker of the deletion
	wantBot(t, other, "demo", 2, "shop")
}

func TestBrokerAwayIsAnErrorAndNeverUnknown(t *testing.T) {
	srv := start(t)
	d := ingress(t, srv, Config{ReadTimeout: 50 * time.Millisecond, DeclareTimeout: 100 * time.Millisecond})
	declare(t, d, "demo", "shop", Module{ID: 1})
	srv.Stop()
	wantBot(t, d, "demo", 1, "shop")
	if _, ok, err := d.Bot(t.Context(), "demo", 2); err == nil || ok {
		t.Errorf("Bot of a module that is not in the copy: %v, %v", ok, err)
	}
	if err := d.Declare(t.Context(), "demo", "shop", nil); err == nil {
		t.Error("Declare without a broker succeeded")
	}
	srv.Boot()
}

// After a reconnect everything is listed at once; the library's own recovery of a watch may take its heartbeats' time, or miss something.
func TestReconnectListsAgain(t *testing.T) {
	srv := start(t)
	one, other := ingress(t, srv, Config{DeclareTimeout: natstest.Patience}), ingress(t, srv, Config{RelistEvery: time.Hour})
	before := testutil.ToFloat64(other.metrics.lists)
	srv.Restart()
	declare(t, one, "demo", "shop", Module{ID: 1})
	natstest.Eventually(t, func() bool { return testutil.ToFloat64(other.metrics.lists) > before }, "the bucket is listed again")
	natstest.Eventually(t, func() bool { _, ok := other.copy.bot("demo", 1); return ok }, "the other's copy has the module")
}

// An operator deletes an account's key; an ingress that has not heard of it yet must not list what the leader has no more.
func TestDeletedAccountIsNotListedFromTheCopy(t *testing.T) {
	srv := start(t)
	d := ingress(t, srv, Config{})
	declare(t, d, "demo", "shop", Module{ID: 1})
	d.stopWatch()
	bucket, err := srv.JetStream().KeyValue(t.Context(), Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), key("demo")); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := d.Modules(t.Context(), "demo", "shop"); ok || err != nil {
		t.Errorf("Modules = %v, %v, %v", got, ok, err)
	}
	declare(t, d, "demo", "forms", Module{ID: 1})
	got, ok, err := d.Modules(t.Context(), "demo", "forms")
	if err != nil || !ok || len(got) != 1 {
		t.Errorf("Modules = %v, %v, %v", got, ok, err)
	}
}
