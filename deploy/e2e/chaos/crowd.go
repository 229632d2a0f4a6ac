package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
)

// crowdBatch is how many idle users are registered by one message, as an ingress does with an import.
const crowdBatch = 1000

// gather registers the idle users and waits until owners and standbys have applied all of them. Nobody asks for these users: they are there so that files,
// snapshots and replays have the size that they have in earnest.
func (f *Fleet) gather(ctx context.Context) error {
	if f.cfg.Users == 0 {
		return nil
	}
	begun := time.Now()
	if err := f.appendCrowd(ctx); err != nil {
		return fmt.Errorf("register %d idle users: %w", f.cfg.Users, err)
	}
	f.cfg.Log("%d idle users are in the logs after %s", f.cfg.Users, rounded(time.Since(begun)))
	if err := poll(ctx, "the idle users to be applied everywhere", func() bool { return f.settled(ctx) && f.applied(ctx) }); err != nil {
		return err
	}
	f.cfg.Log("%d idle users are applied everywhere after %s", f.cfg.Users, rounded(time.Since(begun)))
	return nil
}

// applied: every worker has applied all that there is in the logs of its partitions.
func (f *Fleet) applied(ctx context.Context) bool {
	for _, page := range f.partitions(ctx) {
		if last, err := f.lastSeq(ctx, broker.TriggersStream(page.Partition)); err != nil || page.Applied < last {
			return false
		}
	}
	return true
}

// appendCrowd writes to all logs at once, as one writer, a message at a time in each.
func (f *Fleet) appendCrowd(ctx context.Context) error {
	logs := make([]chan []byte, f.cfg.Partitions)
	faults := make([]error, f.cfg.Partitions)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var appending sync.WaitGroup
	for p := range logs {
		logs[p] = make(chan []byte, crowdBatch)
		appending.Go(func() {
			if faults[p] = f.appendLines(ctx, p, logs[p]); faults[p] != nil {
				cancel()
			}
		})
	}
	for i := 0; i < f.cfg.Users && ctx.Err() == nil; i++ {
		name := fmt.Sprintf("idle-%d", i)
		line := (&record.Record{Kind: record.Register, Account: []byte(tenant), User: []byte(name), Bot: []byte("bot"), Module: firstModule, HasModule: true,
			Vars: []record.Var{{Name: []byte("plan"), Value: []byte(`"basic"`)}, {Name: []byte("since"), Value: []byte(`"2026-01-02"`)}}}).AppendTo(nil)
		select {
		case logs[broker.Partition(tenant, name, f.cfg.Partitions)] <- line:
		case <-ctx.Done():
		}
	}
	for _, log := range logs {
		close(log)
	}
	appending.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// appendLines appends records to a log until there are no more.
func (f *Fleet) appendLines(ctx context.Context, p int, lines <-chan []byte) error {
	for number := uint64(1); ; number++ {
		b := record.Batch{Writer: "crowd", Number: number, Time: time.Now().UnixMilli()}
		for line := range lines {
			if b.Count++; b.Count > 1 {
				b.Payload = append(b.Payload, '\n')
			}
			if b.Payload = append(b.Payload, line...); b.Count == crowdBatch {
				break
			}
		}
		if b.Count == 0 {
			return nil
		}
		if _, err := f.js.PublishMsg(ctx, &nats.Msg{Subject: broker.TriggersSubject(p), Header: b.Header(), Data: b.Payload}); err != nil {
			return err
		}
	}
}
