package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// tailTriggers is how many triggers are accepted after the back-up, at least.
const tailTriggers = 20

// adoptMargin is how many sequences are left out when a log is adopted. Its events say what was seen, so nothing of it is needed.
const adoptMargin = "200"

// disaster is a log that is deleted, and comes back from a back-up, while the load goes on.
type disaster struct {
	*Fleet
	p       int
	stream  string
	kill    bool // the ingresses, before the log is back, as deploy/BACKUP.md wants it; otherwise they append to what came back
	restore func()
	tail    []tailMessage
	cut     Cut
}

// loseTail gives a log back without its tail, and adopts it.
func loseTail(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	d := &disaster{Fleet: f, p: rng.IntN(f.cfg.Partitions), kill: rng.IntN(2) == 0}
	d.stream = broker.TriggersStream(d.p)
	d.cut = Cut{Partition: d.p, Lost: map[string]Lost{}}
	what := d.stream + " loses its tail, is adopted"
	if d.kill {
		what += " without ingresses"
	}
	return f.step(ctx, what, func(ctx context.Context) error {
		for _, do := range []func(context.Context) error{d.strike, d.refuse, d.comeBack, d.halt, d.adopt, d.goOn} {
			if err := do(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// strike makes a back-up, lets the log grow, and deletes it. What that takes away is written down. The workers are frozen meanwhile: two snapshots after the
// back-up, and there would be nothing that the restored log could be replayed from.
func (d *disaster) strike(ctx context.Context) error {
	for {
		kept, err := d.lastSeq(ctx, d.stream) // the back-up holds it, and perhaps more
		if err != nil {
			return err
		}
		d.restore, d.cut.Kept = d.cfg.Backup(d.conn, d.stream), kept
		if err := d.accepted(ctx, d.p, tailTriggers); err != nil {
			return err
		}
		if err := d.signalWorkers(syscall.SIGSTOP); err != nil {
			return err
		}
		first, err := d.firstSeq(ctx, d.stream)
		if err != nil {
			return err
		}
		if first <= kept {
			break
		}
		d.cfg.Log("%s was trimmed beyond its back-up, which is useless now: once more", d.stream)
		if err := d.signalWorkers(syscall.SIGCONT); err != nil {
			return err
		}
	}
	if err := d.seal(ctx); err != nil {
		return fmt.Errorf("seal %s: %w", d.stream, err)
	}
	var err error
	if d.tail, err = d.readTail(ctx, d.stream); err != nil {
		return fmt.Errorf("read the tail of %s: %w", d.stream, err)
	}
	return d.js.DeleteStream(ctx, d.stream)
}

// accepted waits until a partition has accepted so many more triggers.
func (f *Fleet) accepted(ctx context.Context, p, more int) error {
	before := f.accepts.counts()[p]
	return poll(ctx, fmt.Sprintf("%d more triggers on partition %d", more, p), func() bool { return f.accepts.counts()[p] >= before+more })
}

func (f *Fleet) signalWorkers(s syscall.Signal) error {
	var faults []error
	for _, w := range running(f.workers) {
		faults = append(faults, w.signal(s))
	}
	return errors.Join(faults...)
}

// seal lets nothing into the log any more, so that what is read of it is all that there was.
func (d *disaster) seal(ctx context.Context) error {
	s, err := d.js.Stream(ctx, d.stream)
	if err != nil {
		return err
	}
	config := s.CachedInfo().Config
	config.Sealed = true
	if _, err := d.js.UpdateStream(ctx, config); err != nil {
		return err
	}
	last := s.CachedInfo().State.LastSeq
	return poll(ctx, "what is under way to be in "+d.stream, func() bool {
		before := last
		last, err = d.lastSeq(ctx, d.stream)
		return err == nil && last == before
	})
}

// refuse waits until every ingress refuses what would go into a log that is not there.
func (d *disaster) refuse(ctx context.Context) error {
	for _, in := range d.ingress {
		if err := d.awaitRefusal(ctx, in, d.p); err != nil {
			return err
		}
	}
	return nil
}

// comeBack restores the log, and lets the workers go on.
func (d *disaster) comeBack(ctx context.Context) error {
	if d.kill {
		for _, in := range d.ingress {
			if err := in.kill(ctx); err != nil {
				return err
			}
		}
	}
	d.restore()
	if err := d.compareTail(ctx); err != nil {
		return fmt.Errorf("compare %s with what it was: %w", d.stream, err)
	}
	return d.signalWorkers(syscall.SIGCONT)
}

// compareTail finds out what is lost: a back-up may hold more than it says.
func (d *disaster) compareTail(ctx context.Context) error {
	s, err := d.js.Stream(ctx, d.stream)
	if err != nil {
		return err
	}
	for i, m := range d.tail {
		now, err := s.GetMsg(ctx, m.seq)
		if err == nil && now.Time.Equal(m.time) {
			d.cut.Kept = m.seq
			continue
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return err
		}
		for _, lost := range d.tail[i:] {
			for id, trigger := range lost.triggers {
				d.cut.Lost[id] = trigger
			}
			d.cut.Last = lost.seq
		}
		d.cfg.Log("%s lost messages %d to %d, with %d triggers", d.stream, d.cut.Kept+1, d.cut.Last, len(d.cut.Lost))
		return nil
	}
	return errors.New("it lost nothing")
}

// halt waits until everybody who runs the partition has halted it and says what to do, and serves the others.
func (d *disaster) halt(ctx context.Context) error {
	return poll(ctx, fmt.Sprintf("partition %d to be halted, and no other", d.p), func() bool {
		serving, halted := map[int]bool{}, 0
		for _, page := range d.partitions(ctx) {
			switch {
			case page.Partition != d.p:
				serving[page.Partition] = serving[page.Partition] || page.State == "serving"
			case page.State != "halted" || !strings.Contains(page.Cause, "restore the log"):
				return false
			default:
				halted++
			}
		}
		for p := range d.cfg.Partitions {
			if p != d.p && !serving[p] {
				return false
			}
		}
		return halted == min(2, len(running(d.workers)))
	})
}

// adopt does what an operator does: with the files of the worker that had the partition last, and then of those that halt it once more.
func (d *disaster) adopt(ctx context.Context) error {
	margin := adoptMargin
	for {
		var halted *process
		served := false
		err := poll(ctx, fmt.Sprintf("partition %d to be served or halted", d.p), func() bool {
			for _, page := range d.partitions(ctx) {
				if page.Partition == d.p && page.State == "halted" {
					halted = page.worker
				}
				served = served || page.Partition == d.p && page.State == "serving"
			}
			return halted != nil || served && d.settled(ctx)
		})
		if err != nil || halted == nil {
			return err
		}
		if err := d.typeAdopt(ctx, halted, margin); err != nil {
			return err
		}
		if d.cut.Adopted.IsZero() {
			d.cut.Adopted = time.Now()
			d.cuts = append(d.cuts, &d.cut)
		}
		margin = "0"
	}
}

// typeAdopt pauses the partition and adopts its log, at the machine of a worker.
func (d *disaster) typeAdopt(ctx context.Context, w *process, margin string) error {
	for _, args := range [][]string{{"pause", "-reason", "restored"}, {"adopt", "-margin", margin, "-data-dir", filepath.Join(d.cfg.Dir, w.name)}} {
		args = append(args, "-partition", fmt.Sprint(d.p), "-nats-url", d.url(), "-nats-nkey", d.role("operator"))
		out, err := exec.CommandContext(ctx, d.cfg.Binaries.Worker, args...).CombinedOutput()
		d.cfg.Log("%s, on %s: %s", args[0], w.name, strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; "))
		if err != nil {
			return fmt.Errorf("worker %s on %s: %w: %s", args[0], w.name, err, out)
		}
	}
	return nil
}

// goOn starts the ingresses again.
func (d *disaster) goOn(ctx context.Context) error {
	if !d.kill {
		return nil
	}
	for _, in := range d.ingress {
		if err := in.start(); err != nil {
			return err
		}
	}
	return awaitReady(ctx, d.ingress...)
}
