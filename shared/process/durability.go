package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/lifecycle"
)

// How often the servers are asked again: one may be started anew with another configuration, and one that is away may be back.
const (
	syncEvery     = time.Minute
	syncSoonEvery = 10 * time.Second
)

// SyncRule says what it takes to be ready: what an acknowledgement of the broker is worth depends on whether it syncs always.
type SyncRule string

// The rules.
const (
	SyncAsk      SyncRule = "ask"      // all servers that answer sync always, and one answers
	SyncDeclared SyncRule = "declared" // the operator says so, of a broker that cannot be asked; a server that answers otherwise still counts
	SyncIgnore   SyncRule = "ignore"   // accepted data may be lost when a server loses power
)

// RegisterFlags adds -nats-sync-always and sets its default.
func (r *SyncRule) RegisterFlags(fs *flag.FlagSet) {
	*r = SyncAsk
	fs.Var(r, "nats-sync-always", "whether the broker syncs always: `ask` it, and be not ready unless it does; declared, for one that "+
		"cannot be asked; or ignore, for data that may be lost")
}

// Validate finds nothing: Set has.
func (r *SyncRule) Validate() error { return nil }

// Set takes a rule by its name; with String it is a flag.Value.
func (r *SyncRule) Set(name string) error {
	switch rule := SyncRule(name); rule {
	case SyncAsk, SyncDeclared, SyncIgnore:
		*r = rule
		return nil
	}
	return errors.New("not one of ask, declared, ignore")
}

func (r *SyncRule) String() string {
	if r == nil {
		return ""
	}
	return string(*r)
}

var (
	errNotAlways = errors.New("does not sync always: what it acknowledges is lost if its machine loses power within sync_interval; set sync_interval: always " +
		"in its block jetstream (deploy/nats/jetstream.conf) and restart it, one server at a time; this process goes on, and is ready when all do")
	errNobodySays = errors.New("no server says whether it syncs always: let the account ask its servers, as deploy/nats/permissions.conf does (imports and exports of " +
		subjectAsked + "), or make sure of it and start with -nats-sync-always declared")
)

// subjectAsked is what an account must import to be answered.
const subjectAsked = "$SYS.REQ.SERVER.PING.JSZ"

// durability watches when the broker's servers write to disk.
type durability struct {
	broker *broker.Broker
	rule   SyncRule
	log    *slog.Logger

	mu    sync.Mutex
	asked bool
	last  broker.Sync
}

// watchDurability shows what the broker's acknowledgements are worth: as a check, as a metric and in the log.
func watchDurability(env *Env, rule SyncRule) (lifecycle.Part, error) {
	d := &durability{broker: env.Broker, rule: rule, log: env.Logger}
	env.Health.Register("durability", d.check)
	err := env.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "triggerd_broker_sync_always",
		Help: "1 if the broker acknowledges a record only when it is on disk (sync_interval: always); 0 if one of its servers does not, " +
			"so that what is accepted may be lost; -1 if no server says. Bad unless 1: see durability in /readyz?verbose.",
	}, d.value))
	return lifecycle.Part{Name: "durability", Run: d.run}, err
}

// run asks at once, after every reconnect, and once in a while.
func (d *durability) run(ctx context.Context, ready func()) error {
	reconnected := d.broker.Conn.StatusChanged(nats.CONNECTED)
	defer d.broker.Conn.RemoveStatusListener(reconnected)
	d.ask(ctx)
	ready()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		again.Reset(d.pause())
		select {
		case <-ctx.Done():
			return nil
		case <-reconnected:
		case <-again.C:
		}
		d.ask(ctx)
	}
}

// ask keeps the last answer there was: that nobody answers now does not make known servers unknown.
func (d *durability) ask(ctx context.Context) {
	now, err := d.broker.AskSync(ctx)
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	before, first := d.last, !d.asked
	if now.Known() || !before.Known() {
		d.last = now
	}
	d.asked = true
	changed := first || !d.last.Equal(before)
	d.mu.Unlock()
	if changed {
		d.say(err)
	}
}

func (d *durability) say(err error) {
	detail, fault := d.check()
	switch {
	case fault != nil:
		d.log.Error("broker's acknowledgements are not known to be on disk, so this process is not ready", "cause", errors.Join(fault, err))
	case d.missing() > 0:
		d.log.Warn("some servers do not say whether they sync always: they are away, or answer late", "missing", d.missing(), "durability", detail)
	case d.value() == 1:
		d.log.Info("broker acknowledges what is on disk", "durability", detail)
	default:
		d.log.Warn("broker's acknowledgements are taken on trust", "durability", detail)
	}
}

// check is the readiness: who cannot keep what it promises should not be sent anything.
func (d *durability) check() (string, error) {
	d.mu.Lock()
	last := d.last
	d.mu.Unlock()
	copies := fmt.Sprintf("-replicas %d", d.broker.Settings().Replicas)
	switch {
	case len(last.Not) > 0 && d.rule == SyncIgnore:
		return "not sync always, and ignored: " + strings.Join(last.Not, ", ") + "; what is accepted may be lost (-nats-sync-always ignore)", nil
	case len(last.Not) > 0:
		return "", fmt.Errorf("%s %w", strings.Join(last.Not, ", "), errNotAlways)
	case last.Known():
		return fmt.Sprintf("sync always on %s (%d of %d servers answered), %s", strings.Join(last.Always, ", "), len(last.Always), last.Servers, copies), nil
	case d.rule == SyncAsk:
		return "", errNobodySays
	}
	return fmt.Sprintf("sync always is %s, no server answered that, %s", d.rule, copies), nil
}

func (d *durability) pause() time.Duration {
	if d.missing() > 0 {
		return syncSoonEvery
	}
	return syncEvery
}

// missing is how many servers there are that did not answer, where others did.
func (d *durability) missing() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.last.Known() {
		return 0
	}
	return max(0, d.last.Servers-len(d.last.Always)-len(d.last.Not))
}

// value is the metric. What is declared is not known.
func (d *durability) value() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(d.last.Not) > 0:
		return 0
	case d.last.Known():
		return 1
	default:
		return -1
	}
}
