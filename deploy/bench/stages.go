package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/triggerd/triggerd/deploy/loadgen"
)

// Rhythms of looking at what a worker shows.
const (
	lookEvery  = 5 * time.Millisecond
	stageLimit = 10 * time.Minute // of waiting for one thing
)

// stages measure one deployment, from an empty one to one that is restored from its snapshots.
type stages struct {
	*deployment
	cfg     GrowthConfig
	dir     string
	users   int
	session *loadgen.Session
	worker  *running // nil: none
	loaded  readings // when the load began
	seen    growth
}

func (s *stages) run(ctx context.Context) (err error) {
	defer func() {
		if s.worker != nil {
			err = errors.Join(err, s.worker.stop())
		}
	}()
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"import", s.fill}, {"load", s.load}, {"weigh", s.weigh}, {"store", s.store}, {"catch up", s.catchUp}, {"make snapshots", s.shelve}, {"restore", s.restore},
	} {
		if err := stage.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", stage.name, err)
		}
	}
	return nil
}

// fill registers the users, while a worker applies.
func (s *stages) fill(ctx context.Context) (err error) {
	if s.worker, err = s.startWorker(s.set.worker); err != nil {
		return err
	}
	begun := time.Now()
	s.session, err = loadgen.Prepare(ctx, loadgen.Config{URL: "http://" + s.addr, Token: s.token, Users: s.users,
		Connections: s.cfg.Connections, Timeout: benchTimeout, Quiet: true, Duration: s.cfg.Duration})
	if err == nil {
		err = s.applied(ctx)
	}
	s.seen.imported = float64(s.users) / time.Since(begun).Seconds()
	return err
}

// load is accepting, applying and emitting at once, users all over the files.
func (s *stages) load(ctx context.Context) error {
	s.loaded = s.readings()
	s.seen.accepted = s.drive(ctx)
	return s.applied(ctx)
}

// weigh is what a worker holds in memory: what the collector frees when it has gone. Its last checkpoints are made on the way out.
func (s *stages) weigh(context.Context) error {
	with := heap()
	err := s.worker.stop()
	now := s.readings()
	s.seen.checkpointMicros = (now.committing - s.loaded.committing).Seconds() * 1e6 / max(1, now.applied-s.loaded.applied)
	s.worker = nil
	if without := heap(); with > without {
		s.seen.heap = with - without
	}
	files, globErr := filepath.Glob(filepath.Join(s.dir, "worker", "partition-*.db"))
	for _, file := range files {
		info, statErr := os.Stat(file)
		if err = errors.Join(err, statErr); statErr == nil {
			s.seen.file += uint64(info.Size())
		}
	}
	return errors.Join(err, globErr)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// store is accepting alone.
func (s *stages) store(ctx context.Context) error {
	s.seen.stored = s.drive(ctx)
	return nil
}

// catchUp is applying alone: what was stored meanwhile.
func (s *stages) catchUp(ctx context.Context) (err error) {
	begun := time.Now()
	if s.worker, err = s.beginWorker(s.set.worker); err != nil {
		return err
	}
	var first, last readings
	for ready := false; !ready; {
		select {
		case <-s.worker.ready:
			ready = true
		case err := <-s.worker.ended:
			s.worker = nil
			return err
		case <-time.After(lookEvery):
		}
		now := s.readings()
		if first.applied == 0 {
			first, s.seen.begin = now, time.Since(begun)
		}
		if now.applied > last.applied {
			last = now
		}
	}
	if spent := last.at.Sub(first.at); spent > 0 {
		s.seen.applied = (last.applied - first.applied) / spent.Seconds()
	}
	return nil
}

// shelve makes a snapshot of every partition that reflects all there is, as fast as it can.
func (s *stages) shelve(ctx context.Context) error {
	err := s.worker.stop()
	s.worker = nil
	if err != nil {
		return err
	}
	cfg := s.set.worker
	cfg.SnapshotEvery, cfg.SnapshotShare, cfg.SnapshotRate = time.Second, 1, 1<<30
	ends, err := s.ends(ctx)
	if err != nil {
		return err
	}
	if s.worker, err = s.startWorker(cfg); err != nil {
		return err
	}
	s.drive(ctx) // so that there is something new to make a snapshot of
	err = s.until(ctx, func(r readings) bool { return reach(r.shelved, ends) })
	s.seen.packed = uint64(s.readings().packed)
	return err
}

// restore is a worker with an empty disk.
func (s *stages) restore(context.Context) error {
	err := s.worker.stop()
	s.worker = nil
	if err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, "worker"))); err != nil {
		return err
	}
	begun := time.Now()
	s.worker, err = s.startWorker(s.set.worker)
	s.seen.restore = time.Since(begun)
	return err
}

// drive returns how many triggers a second were accepted.
func (s *stages) drive(ctx context.Context) float64 {
	before := s.session.Report()
	s.session.Drive(ctx)
	after := s.session.Report()
	return float64(after.Accepted-before.Accepted) / (after.Elapsed - before.Elapsed).Seconds()
}

// applied waits until the worker has applied all that is in the logs.
func (s *stages) applied(ctx context.Context) error {
	ends, err := s.ends(ctx)
	if err != nil {
		return err
	}
	return s.until(ctx, func(r readings) bool { return reach(r.positions, ends) })
}

func (s *stages) until(ctx context.Context, reached func(readings) bool) error {
	ctx, cancel := context.WithTimeout(ctx, stageLimit)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for !reached(s.readings()) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.worker.ended:
			s.worker.ended <- err // for whoever stops it
			return fmt.Errorf("worker ended: %w", err)
		case <-ticker.C:
		}
	}
	return nil
}
