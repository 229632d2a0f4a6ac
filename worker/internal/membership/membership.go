package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Defaults of Config.
const (
	DefaultRelistEvery = 30 * time.Second
	DefaultTimeout     = 2 * time.Second
)

// Config is what a membership needs to know. Self.ID and Self.Home are mandatory; zero values of the rest are replaced by the defaults.
type Config struct {
	Self        Member
	RelistEvery time.Duration // how often a watch is begun anew, which lists the bucket again
	Timeout     time.Duration // one request to the broker
}

// Deps is what a membership works with. Broker is mandatory.
type Deps struct {
	Broker     *broker.Broker
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // the local clock; nil = time.Now
}

// View is what a worker knows of all of them at a moment.
type View struct {
	Known   bool     // false: nothing is known yet
	Members []Member // by ID, the worker itself among them
	Lapses  int      // times that the worker's own key was not renewed for a TTL: others may have taken over what it had
	Cause   string   // why the owners may have changed last: joined, left, leaving, expired, halted; empty: they have not since it is known
}

// Find is the member with that ID.
func (v View) Find(id string) (Member, bool) {
	i := slices.IndexFunc(v.Members, func(m Member) bool { return m.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return v.Members[i], true
}

// Membership is one worker's part in the set. Safe for concurrent use.
type Membership struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	changed chan struct{}
	renew   chan struct{} // renew at once
	relist  chan struct{} // begin the watch anew

	mu     sync.Mutex
	self   Member
	roster *roster   // nil until the bucket's TTL is known
	stored uint64    // revision of the last renewal that was acknowledged
	putAt  time.Time // when it was
	lapses int
	lapsed bool // since the last renewal
	cause  string
	fault  error // of the last renewal

	unrenewed telemetry.Trouble
}

// New does not touch the broker yet.
func New(cfg Config, deps Deps) *Membership {
	fill(&cfg.RelistEvery, DefaultRelistEvery)
	fill(&cfg.Timeout, DefaultTimeout)
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	cfg.Self.Version = Version
	m := &Membership{cfg: cfg, deps: deps, self: cfg.Self.clone(),
		changed: make(chan struct{}, 1), renew: make(chan struct{}, 1), relist: make(chan struct{}, 1), fault: errNotYet}
	m.metrics = newMetrics(deps.Registerer, func() float64 { return float64(len(m.View().Members)) })
	return m
}

func fill[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

var errNotYet = errors.New("own key was not stored yet")

// Run renews and watches until ctx ends. The key stays: it is for Leave to delete.
func (m *Membership) Run(ctx context.Context) {
	bucket := m.open(ctx)
	if bucket == nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.keepRenewing(ctx, bucket) })
	wg.Go(func() { m.keepWatching(ctx) })
	m.keepExpiring(ctx)
	wg.Wait()
}

// open waits for the bucket and learns its TTL. It returns nil when ctx ends.
func (m *Membership) open(ctx context.Context) jetstream.KeyValue {
	for pause := minPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		bucket, ttl, err := m.openOnce(ctx)
		if err == nil {
			m.mu.Lock()
			m.roster = newRoster(ttl)
			m.mu.Unlock()
			return bucket
		}
		m.failed(fmt.Errorf("open bucket %s: %w", broker.BucketMembers, err))
		rest(ctx, pause)
	}
	return nil
}

func (m *Membership) openOnce(ctx context.Context) (jetstream.KeyValue, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	bucket, err := m.deps.Broker.JS.KeyValue(ctx, broker.BucketMembers)
	if err != nil {
		return nil, 0, err
	}
	status, err := bucket.Status(ctx)
	if err != nil {
		return nil, 0, err
	}
	if status.TTL() < broker.MinMemberTTL {
		return nil, 0, fmt.Errorf("its ttl is %v, under %v", status.TTL(), broker.MinMemberTTL)
	}
	return bucket, status.TTL(), nil
}

// ID is this worker's.
func (m *Membership) ID() string { return m.cfg.Self.ID }

// Changed gets something after every change of View. One thing in it may stand for several changes.
func (m *Membership) Changed() <-chan struct{} { return m.changed }

func (m *Membership) tell() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// View is what is known now.
func (m *Membership) View() View {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.known() {
		return View{}
	}
	return View{Known: true, Members: m.roster.members(m.self), Lapses: m.lapses, Cause: m.cause}
}

// GoneSince is when a member that is gone was last heard of, by the local clock; false if it is not known to have been here lately.
func (m *Membership) GoneSince(id string) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.roster == nil {
		return time.Time{}, false
	}
	at, ok := m.roster.gone[id]
	return at, ok
}

// known: the lock is held.
func (m *Membership) known() bool { return m.roster != nil && m.roster.listed && m.stored != 0 }

// Say changes what this worker tells the others, and tells it at once if it is something new. ID and Home cannot be changed; long
// Causes are cut, and of many the first are told, so that the key stays small enough to be renewed.
func (m *Membership) Say(change func(self *Member)) {
	m.mu.Lock()
	next := m.self.clone()
	change(&next)
	next.ID, next.Home, next.Version = m.self.ID, m.self.Home, Version
	next.bound()
	same := slices.Equal(m.self.encode(), next.encode())
	m.self = next
	m.mu.Unlock()
	if !same {
		poke(m.renew)
		m.tell()
	}
}

// Check is the readiness of the membership: detail for a person, and an error while the worker's key cannot be renewed or the others are unknown.
func (m *Membership) Check() (detail string, err error) {
	view := m.View()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.fault != nil:
		err = fmt.Errorf("renew member: %w", m.fault)
	case !view.Known:
		err = errors.New("members are not listed yet")
	}
	return fmt.Sprintf("worker %s, %d members", m.self.ID, len(view.Members)), err
}

// Leave deletes the key, after Run. If the last renewal failed that is not tried: the key expires.
func (m *Membership) Leave(ctx context.Context) error {
	m.mu.Lock()
	stored, fault := m.stored != 0, m.fault
	m.mu.Unlock()
	if !stored || fault != nil {
		return fault
	}
	if err := m.delete(ctx, m.cfg.Self.ID); err != nil {
		return fmt.Errorf("delete member: %w", err)
	}
	return nil
}

// delete deletes a member's key.
func (m *Membership) delete(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	bucket, err := m.deps.Broker.JS.KeyValue(ctx, broker.BucketMembers)
	if err != nil {
		return err
	}
	return bucket.Delete(ctx, id)
}

func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
