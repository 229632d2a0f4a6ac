package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/triggerd/triggerd/worker/internal/membership"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

// supervisor makes what runs here follow the members. Its fields belong to the goroutine of run; what others may see is in the Worker, under its lock.
type supervisor struct {
	*Worker
	view    membership.View
	hold    *membership.Membership
	events  chan struct{} // a partition has changed its state or ended
	running sync.WaitGroup
	disk    sync.Mutex // held by the partition that writes a checkpoint
	leaveBy time.Time  // when waiting for others ends; zero: not leaving
	lapses  int        // of the membership, that were dealt with
}

func newSupervisor(w *Worker, m *membership.Membership) *supervisor {
	return &supervisor{Worker: w, hold: m, events: make(chan struct{}, 1)}
}

// run returns when ctx has ended and nothing runs any more.
func (s *supervisor) run(ctx context.Context) {
	told := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.tend()
		if !s.leaveBy.IsZero() && s.idle() {
			break
		}
		timer.Reset(s.wait())
		select {
		case <-told:
			told = nil
			s.leaveBy = s.deps.Now().Add(s.cfg.LeaveTimeout)
			s.hold.Say(func(self *membership.Member) { self.Leaving = true })
		case <-s.hold.Changed():
		case <-s.orders.Changed():
		case <-s.events:
		case <-timer.C:
		}
	}
	s.running.Wait()
}

// tend does what is due after every event.
func (s *supervisor) tend() {
	s.reap()
	if view := s.hold.View(); view.Known {
		known := s.view.Known && slices.EqualFunc(s.view.Members, view.Members, membership.SameForAssign)
		if s.view = view; !known {
			s.assign(membership.Assign(s.deps.Broker.Partitions(), view.Members))
		}
		s.prove()
	}
	for p := range s.deps.Broker.Partitions() {
		s.tendTo(p)
	}
	s.announce()
	if s.settledAll() {
		s.settle()
	}
}

// assign notes who owns and who follows what.
func (s *supervisor) assign(owners []string) {
	standbys := make([]string, len(owners))
	if !s.cfg.NoStandby {
		standbys = membership.Standbys(owners, s.view.Members)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.former, s.owners, s.standbys = s.owners, owners, standbys
}

// prove lets everything that is led here show that it missed nothing while this worker was not heard of.
func (s *supervisor) prove() {
	if s.view.Lapses == s.lapses {
		return
	}
	s.lapses = s.view.Lapses
	for _, h := range s.partitions {
		if h.Leading() {
			h.Lead()
		}
	}
}

// tendTo starts, keeps or stops partition p.
func (s *supervisor) tendTo(p int) {
	h, mine := s.partitions[p], s.mine(p)
	switch {
	case s.ordered(p, h):
	case h == nil:
		if (mine || s.standsBy(p)) && s.leaveBy.IsZero() {
			s.start(p)
		}
	case h.State() == partition.Halted:
		h.lead(mine)
	case h.stopped: // if it is mine again, it is started anew once it has ended
	case mine && s.leaveBy.IsZero():
		s.keep(p, h)
	case h.Leading():
		s.release(p, h)
	case !s.standsBy(p) || !s.leaveBy.IsZero():
		h.stopped = true
		h.stop()
	}
}

// mine says whether p falls to this worker. While nothing is known nothing does.
func (s *supervisor) mine(p int) bool { return s.owners != nil && s.owners[p] == s.id() }

// standsBy says whether this worker is to follow p.
func (s *supervisor) standsBy(p int) bool { return s.standbys != nil && s.standbys[p] == s.id() }

// start runs partition p, as its owner or as a standby.
func (s *supervisor) start(p int) {
	ctx, stop := context.WithCancel(context.Background())
	pulse, forget := s.deps.Health.Pulse(fmt.Sprintf("partition %d", p))
	h := &held{stop: stop, word: s.orders.Of(p).Revision, Partition: partition.New(s.config(p), partition.Deps{Broker: s.deps.Broker, Logger: s.deps.Logger, Tracer: s.deps.Tracer,
		Metrics: s.parts, Shelves: s.shelves, Disk: &s.disk, Now: s.deps.Now, Pulse: pulse, Guard: s.guard(p), Changed: func() { poke(s.events) }})}
	h.Follow()
	if s.mine(p) {
		s.keep(p, h)
	}
	s.mu.Lock()
	s.partitions[p] = h
	s.mu.Unlock()
	s.running.Go(func() {
		defer stop()
		defer forget()
		s.allowed(ctx, p)
		_ = h.Run(ctx) // logged and shown by the partition itself
		poke(s.events)
	})
}

// keep lets h lead, or takes its release back.
func (s *supervisor) keep(p int, h *held) {
	if !h.Leading() {
		h.since, h.cause = s.deps.Now(), s.view.Cause
		h.before = ""
		if s.former != nil {
			h.before = s.former[p]
		}
	}
	h.lead(true)
	h.led = h.led || h.State() != partition.Draining
	h.released = time.Time{}
}

// release lets p go when its next owner serves it, or when there is nobody who could; when leaving, at last when the time for that is over. Here it goes
// on as a standby, if it is to.
func (s *supervisor) release(p int, h *held) {
	now, leaving := s.deps.Now(), !s.leaveBy.IsZero()
	if h.released.IsZero() {
		h.released, h.cause = now, s.view.Cause
	}
	if leaving {
		h.cause = causeStopping
	}
	late := leaving && !now.Before(s.leaveBy)
	switch {
	case h.State() == partition.Serving && !late && !s.taken(p):
	case s.standsBy(p) && !leaving:
		h.lead(false)
	default:
		h.stopped = true
		h.stop()
	}
}

// taken says whether the next owner serves p, or there is nobody to wait for: nobody is left, nobody can be told, or it has halted there.
func (s *supervisor) taken(p int) bool {
	if s.mine(p) || !s.leaveBy.IsZero() && !s.hold.Reachable() {
		return true
	}
	next, ok := s.view.Find(s.owners[p])
	return ok && (next.Serving(p) || slices.Contains(next.Halted, p))
}

// reap notes what has settled or ended, and forgets what was drained. What halted stays: it is not tried again by this process.
func (s *supervisor) reap() {
	for p, h := range s.partitions {
		halted := h.State() == partition.Halted
		if serving := h.Serving(); serving != h.served && (serving || !h.Leading() || halted) {
			h.served = serving
			if halted {
				h.cause, h.released = causeHalted, s.deps.Now()
			}
			s.moved(p, h, serving)
		}
		if !h.ended() || halted {
			continue
		}
		s.mu.Lock()
		delete(s.partitions, p)
		s.mu.Unlock()
		if h.served {
			s.moved(p, h, false)
		}
	}
}

// announce tells the others what is served and halted here.
func (s *supervisor) announce() {
	var serves, follows, halted []int
	causes := map[int]string{}
	for p, h := range s.partitions {
		switch state := h.State(); {
		case h.Serving():
			serves = append(serves, p)
		case state == partition.Following:
			follows = append(follows, p)
		case state == partition.Halted:
			halted = append(halted, p)
			causes[p] = h.Status().Cause
		}
	}
	slices.Sort(serves)
	slices.Sort(follows)
	slices.Sort(halted)
	s.hold.Say(func(self *membership.Member) {
		self.Serves, self.Follows, self.Halted, self.Causes = serves, follows, halted, causes
	})
}

// settledAll: the members are known, and whatever falls to this worker serves, or has halted, or is paused.
func (s *supervisor) settledAll() bool {
	if s.owners == nil || !s.orders.Known() {
		return false
	}
	for p := range s.owners {
		if h := s.partitions[p]; s.mine(p) && !s.orders.Of(p).Paused() && (h == nil || !h.settled()) {
			return false
		}
	}
	return true
}

// idle: nothing runs.
func (s *supervisor) idle() bool {
	for _, h := range s.partitions {
		if !h.ended() {
			return false
		}
	}
	return true
}

// maxWait is how long nothing at all may be looked at, in case that the wall clock is set.
const maxWait = time.Second

// wait is when waiting for others ends.
func (s *supervisor) wait() time.Duration {
	left := s.leaveBy.Sub(s.deps.Now())
	if s.leaveBy.IsZero() || left < 0 {
		return maxWait
	}
	return min(left+time.Millisecond, maxWait)
}

func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
