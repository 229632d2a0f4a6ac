package nats_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/record"
)

// role is a connection that tells what it may not do.
type role struct {
	t    *testing.T
	conn *nats.Conn
}

func as(t *testing.T, c *natstest.Cluster, keys *natstest.Keys, name string) *role {
	t.Helper()
	return &role{t: t, conn: c.Connect(keys.As(name))}
}

// may says whether the broker lets the role do something with a subject. It answers what it does not allow beside the request, before the
// answer to the ping that comes after.
func (r *role) may(do func(conn *nats.Conn) error) bool {
	r.t.Helper()
	before := r.conn.LastError()
	if err := do(r.conn); err != nil {
		r.t.Fatal(err)
	}
	if err := r.conn.FlushTimeout(natstest.Patience); err != nil {
		r.t.Fatal(err)
	}
	now := r.conn.LastError()
	return now == before || !errors.Is(now, nats.ErrPermissionViolation)
}

func publish(subject string) func(*nats.Conn) error {
	return func(conn *nats.Conn) error { return conn.Publish(subject, nil) }
}

func subscribe(subject string) func(*nats.Conn) error {
	return func(conn *nats.Conn) error { _, err := conn.SubscribeSync(subject); return err }
}

// Each role may do what it is for, and nothing else. A line that moves from may not to may should be explained in permissions.conf.
func TestRoles(t *testing.T) {
	keys := natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Members(1), natstest.Config("server.conf", keys.Env()...))
	for _, test := range []struct {
		role                     string
		publish, subscribe       []string // may
		notPublish, notSubscribe []string
	}{{
		role: "ingress",
		publish: []string{"triggers.0", "state.0", "$KV.MODULES.a", "$JS.API.STREAM.INFO.TRIGGERS-0", "$JS.API.STREAM.MSG.GET.KV_DEPLOYMENT",
			"$JS.API.CONSUMER.CREATE.KV_MODULES.x.$KV.MODULES.>", "$SYS.REQ.SERVER.PING.JSZ",
			"$KV.INGRESSES.a", "$JS.API.CONSUMER.CREATE.KV_INGRESSES.x.$KV.INGRESSES.>", "$JS.API.CONSUMER.CREATE.KV_LIMITS.x.$KV.LIMITS.>",
			"$JS.API.CONSUMER.CREATE.KV_REVOKED.x.$KV.REVOKED.>", "$JS.FC.KV_REVOKED.x"},
		subscribe: []string{"_INBOX.ingress.x"},
		notPublish: []string{"$KV.REVOKED.a", "$JS.API.STREAM.PURGE.KV_REVOKED", "$JS.API.STREAM.UPDATE.KV_REVOKED", "$JS.API.STREAM.MSG.DELETE.KV_REVOKED",
			"events.0", "$KV.DEPLOYMENT.partitions", "$KV.MEMBERS.a", "$KV.SNAPSHOTS.0", "$KV.CONTROL.pause.0", "$O.SNAPSHOT-DATA.C.x",
			"$JS.API.STREAM.CREATE.TRIGGERS-0", "$JS.API.STREAM.UPDATE.TRIGGERS-0", "$JS.API.STREAM.DELETE.TRIGGERS-0", "$JS.API.STREAM.PURGE.TRIGGERS-0",
			"$JS.API.STREAM.MSG.DELETE.KV_MODULES", "$JS.API.STREAM.MSG.GET.TRIGGERS-0", "$JS.API.STREAM.MSG.GET.KV_MEMBERS", "$JS.API.DIRECT.GET.KV_CONTROL.$KV.CONTROL.x",
			"$JS.API.DIRECT.GET.OBJ_SNAPSHOT-DATA.x", "$JS.API.CONSUMER.CREATE.TRIGGERS-0.x", "$JS.API.CONSUMER.CREATE.EVENTS-0.x", "$JS.API.CONSUMER.CREATE.KV_MEMBERS.x.y",
			"$JS.API.STREAM.SNAPSHOT.TRIGGERS-0", "$JS.API.STREAM.RESTORE.TRIGGERS-0", "$JS.API.STREAM.PEER.REMOVE.TRIGGERS-0", "$JS.API.STREAM.NAMES", "$JS.API.META.LEADER.STEPDOWN",
			"$KV.LIMITS.a", "$JS.API.STREAM.PURGE.KV_LIMITS", "$JS.API.STREAM.MSG.GET.KV_LIMITS", "$JS.API.STREAM.PURGE.KV_INGRESSES", "$JS.API.STREAM.MSG.DELETE.KV_INGRESSES",
			"_INBOX.worker.x", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.PING"},
		notSubscribe: []string{">", "triggers.0", "events.0", "state.0", "_INBOX.worker.x", "_INBOX.>", "_INBOX.operator.x", "$KV.MODULES.>"},
	}, {
		role: "worker",
		publish: []string{"triggers.0", "events.0", "state.0", "$KV.MEMBERS.a", "$KV.SNAPSHOTS.0", "$KV.CONTROL.crash.0", "$KV.DEPLOYMENT.log.0", "$O.SNAPSHOT-DATA.C.x",
			"$JS.API.STREAM.CREATE.TRIGGERS-0", "$JS.API.STREAM.UPDATE.TRIGGERS-0", "$JS.API.STREAM.PURGE.TRIGGERS-0", "$JS.API.STREAM.PURGE.EVENTS-0", "$JS.API.STREAM.PURGE.OBJ_SNAPSHOT-DATA",
			"$JS.API.CONSUMER.CREATE.TRIGGERS-0.x", "$JS.API.CONSUMER.CREATE.TRIGGERS-0", "$JS.API.CONSUMER.MSG.NEXT.TRIGGERS-0.x", "$JS.API.CONSUMER.CREATE.KV_MEMBERS.x.y", "$JS.API.STREAM.MSG.GET.EVENTS-0",
			"$SYS.REQ.SERVER.PING.JSZ"},
		subscribe: []string{"state.0", "_INBOX.worker.x"},
		notPublish: []string{"$KV.REVOKED.a", "$JS.API.STREAM.PURGE.KV_REVOKED", "$JS.API.STREAM.MSG.GET.KV_REVOKED", "$JS.API.DIRECT.GET.KV_REVOKED.$KV.REVOKED.a",
			"$JS.API.CONSUMER.CREATE.KV_REVOKED", "$JS.API.CONSUMER.CREATE.KV_REVOKED.x.y", "$JS.API.STREAM.DELETE.KV_REVOKED", "$KV.MODULES.a", "$JS.API.STREAM.DELETE.TRIGGERS-0", "$JS.API.STREAM.DELETE.EVENTS-0", "$JS.API.STREAM.DELETE.KV_MEMBERS",
			"$JS.API.STREAM.MSG.DELETE.TRIGGERS-0", "$JS.API.STREAM.PURGE.KV_DEPLOYMENT", "$JS.API.STREAM.PURGE.KV_MODULES", "$JS.API.STREAM.PURGE.KV_CONTROL", "$JS.API.STREAM.PURGE.KV_SNAPSHOTS",
			"$JS.API.STREAM.PURGE.KV_MEMBERS", "$JS.API.STREAM.MSG.GET.KV_MODULES", "$JS.API.DIRECT.GET.KV_MODULES.$KV.MODULES.a", "$JS.API.CONSUMER.CREATE.KV_MODULES", "$JS.API.CONSUMER.CREATE.KV_MODULES.x.y",
			"$JS.API.STREAM.SNAPSHOT.TRIGGERS-0", "$JS.API.STREAM.RESTORE.TRIGGERS-0", "$JS.API.STREAM.PEER.REMOVE.TRIGGERS-0", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE",
			"$KV.LIMITS.a", "$KV.INGRESSES.a", "$JS.API.STREAM.PURGE.KV_LIMITS", "$JS.API.STREAM.PURGE.KV_INGRESSES", "$JS.API.CONSUMER.CREATE.KV_LIMITS.x.y",
			"_INBOX.ingress.x", "$SYS.REQ.SERVER.PING.VARZ", "other"},
		notSubscribe: []string{">", "triggers.0", "events.0", "_INBOX.ingress.x", "_INBOX.>", "$KV.MEMBERS.>"},
	}, {
		role: "operator",
		publish: []string{"triggers.0", "events.0", "$KV.CONTROL.pause.0", "$KV.SNAPSHOTS.0", "$KV.LIMITS.a", "$KV.REVOKED.a", "$JS.API.STREAM.DELETE.NONE", "$JS.API.STREAM.SNAPSHOT.TRIGGERS-0", "$JS.API.STREAM.RESTORE.NONE",
			"$JS.API.STREAM.PURGE.NONE", "$JS.API.STREAM.MSG.GET.KV_MODULES", "$JS.API.CONSUMER.CREATE.EVENTS-0.x"},
		subscribe: []string{"_INBOX.x", "state.0", ">"},
	}, {
		role:      "system",
		publish:   []string{"$SYS.REQ.SERVER.PING.VARZ"},
		subscribe: []string{"$SYS.>"},
	}} {
		t.Run(test.role, func(t *testing.T) {
			r := as(t, c, keys, test.role)
			r.check(publish, test.publish, true, "publish to")
			r.check(publish, test.notPublish, false, "publish to")
			r.check(subscribe, test.subscribe, true, "subscribe to")
			r.check(subscribe, test.notSubscribe, false, "subscribe to")
		})
	}
}

func (r *role) check(do func(string) func(*nats.Conn) error, subjects []string, want bool, what string) {
	r.t.Helper()
	for _, subject := range subjects {
		if got := r.may(do(subject)); got != want {
			r.t.Errorf("may %s %s: %v, want %v", what, subject, got, want)
		}
	}
}

// The system account sees no data, and a stranger nothing.
func TestStrangersAreRefused(t *testing.T) {
	keys, other := natstest.NewKeys(t), natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Members(1), natstest.Config("server.conf", keys.Env()...))
	for name, opt := range map[string]nats.Option{"nobody": nats.Name("x"), "anyone": nats.UserInfo("anyone", ""), "another worker": other.As("worker")} {
		if conn, err := nats.Connect(c.URL(), opt); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v, want a refusal", name, err)
			conn.Close()
		}
	}
	js, err := jetstream.New(c.Connect(keys.As("system")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), broker.TriggersStream(0)); !errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		t.Errorf("the system account and data: %v", err)
	}
}

// settings are those of a small deployment.
// A process with another role's key would ask, and hear nothing, for ever.
func TestAnotherRolesKeyEndsAProcess(t *testing.T) {
	keys := natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Members(1), natstest.Config("server.conf", keys.Env()...))
	for name, role := range map[string]string{"worker": "ingress", "ingress": "worker"} {
		r := process.Remote{URL: c.URL(), Nkey: keys.File(role)}
		if conn, err := r.Dial(t.Context(), name, log(io.Discard)); !errors.Is(err, process.ErrRefused) || !strings.Contains(err.Error(), "another role") {
			t.Errorf("%s with the key of %s: %v", name, role, err)
			conn.Close()
		}
		r.Nkey = keys.File("operator") // may hear everything
		conn, err := r.Dial(t.Context(), name, log(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

func settings() broker.Settings {
	return broker.Settings{Partitions: 1, Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3600000},
		TriggersMaxBytes: 64 << 20, EventsMaxBytes: 64 << 20, SnapshotsMaxBytes: 64 << 20}
}

func log(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// An ingress makes nothing: it waits for a worker, at every step at which the worker may have stopped. Changing is not its
// either: it names what differs and goes on.
func TestIngressWaitsForAWorker(t *testing.T) {
	keys := natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Members(1), natstest.Config("server.conf", keys.Env()...))
	in, w, op := as(t, c, keys, "ingress"), as(t, c, keys, "worker"), as(t, c, keys, "operator")
	ops, err := jetstream.New(op.conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, undone := range []string{"", "EVENTS-0", "TRIGGERS-0", "KV_DEPLOYMENT"} {
		if undone != "" {
			undo(t, ops, undone)
		}
		said, done := make(lines, 100), make(chan error, 1)
		go func() {
			_, err := broker.Ensure(t.Context(), in.conn, settings(), log(said))
			done <- err
		}()
		if line := <-said; !strings.Contains(line, "waiting for one who may") {
			t.Errorf("without %s the ingress says %q", undone, line)
		}
		if _, err := broker.Ensure(t.Context(), w.conn, settings(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	more := settings()
	more.TriggersMaxBytes *= 2
	said := make(lines, 100)
	b, err := broker.Ensure(t.Context(), in.conn, more, log(said))
	if err != nil {
		t.Fatal(err)
	}
	if d := b.Differences(); len(d) != 1 || d[0].Setting != "max_bytes" {
		t.Errorf("differences %+v", d)
	}
	if line := <-said; !strings.Contains(line, "setting=max_bytes have=67108864 want=134217728 changed=false") || !strings.Contains(line, "does not allow") {
		t.Errorf("ingress says %q", line)
	}
}

// undo makes a deployment one whose maker died before it made a stream.
func undo(t *testing.T, js jetstream.JetStream, stream string) {
	t.Helper()
	ctx := context.Background()
	if stream == "KV_DEPLOYMENT" {
		for _, name := range []string{"TRIGGERS-0", "EVENTS-0", stream} {
			if err := js.DeleteStream(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	kv, err := js.KeyValue(ctx, broker.BucketDeployment)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(ctx, "log.0")
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Replace(string(entry.Value()), `"created"`, `"intended"`, 1)
	if _, err := kv.PutString(ctx, "log.0", value); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(ctx, stream); err != nil {
		t.Fatal(err)
	}
}
