package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
)

// Nemeses are all that there are. Each leaves the usual number of everything running.
func Nemeses() []Nemesis {
	return []Nemesis{
		{Name: "scale workers", Often: 2, Run: scaleWorkers},
		{Name: "kill a worker", Often: 20, Run: killWorker},
		{Name: "kill all workers", Often: 3, Run: killAllWorkers},
		{Name: "kill the only worker", Often: 2, Run: killOnlyWorker},
		{Name: "kill an ingress", Often: 10, Run: killIngress},
		{Name: "freeze a worker", Often: 4, Run: freezeWorker},
		{Name: "delete a worker's directory", Often: 2, Run: deleteDirectory},
		{Name: "freeze a worker while its log is trimmed", Often: 2, Run: freezeAndTrim},
		{Name: "damage a worker's files", Often: 3, Run: damageFiles},
		{Name: "lose the tail of a log", Often: 2, Run: loseTail},
		{Name: "fill a worker's disk", Often: 1, Run: fillDisk},
		{Name: "kill each server", Often: 1, Long: true, Run: killEachServer},
		{Name: "kill a leader", Often: 4, Run: killLeader},
		{Name: "kill all servers", Often: 2, Run: killAllServers},
		{Name: "cut an ingress off", Often: 1, Run: cutIngress},
		{Name: "set clocks", Often: 2, Run: setClocks},
		{Name: "restart everything", Often: 1, Run: restartEverything},
	}
}

// scaleWorkers goes from 1 worker to 4, to 2, to 1, and back.
func scaleWorkers(ctx context.Context, f *Fleet, _ *rand.Rand) error {
	for _, n := range []int{1, maxWorkers, 2, 1, usualWorkers} {
		now := len(running(f.workers))
		err := f.move(ctx, fmt.Sprintf("from %d to %d workers", now, n), func(ctx context.Context) error { return f.scaleTo(ctx, n) })
		if err != nil {
			return err
		}
	}
	return nil
}

// scaleTo starts workers together, and stops them one after the other.
func (f *Fleet) scaleTo(ctx context.Context, n int) error {
	var begun []*process
	for _, w := range f.workers {
		if len(running(f.workers)) >= n {
			break
		}
		if w.current() == nil {
			if err := w.start(); err != nil {
				return err
			}
			begun = append(begun, w)
		}
	}
	for _, w := range running(f.workers) {
		if len(running(f.workers)) <= n {
			break
		}
		if err := w.stop(ctx); err != nil {
			return err
		}
	}
	return awaitReady(ctx, begun...)
}

// killWorker kills one with kill -9: the others must take over before it is back.
func killWorker(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	w := pick(rng, running(f.workers))
	if err := f.loss(ctx, w.name+" is killed", w, w.kill); err != nil {
		return err
	}
	return f.move(ctx, w.name+" is back", func(ctx context.Context) error { return restart(ctx, w) })
}

// killAllWorkers leaves nobody who has seen what was applied but their files.
func killAllWorkers(ctx context.Context, f *Fleet, _ *rand.Rand) error {
	return f.step(ctx, "all workers are killed, and back", func(ctx context.Context) error {
		workers := running(f.workers)
		for _, w := range workers {
			if err := w.kill(ctx); err != nil {
				return err
			}
		}
		for _, w := range workers {
			if err := w.start(); err != nil {
				return err
			}
		}
		return awaitReady(ctx, workers...)
	})
}

// killOnlyWorker leaves a worker alone, and kills it a few times. Whatever it had applied and not emitted, its file must not say that it is done: there is
// nobody else who would emit it.
func killOnlyWorker(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	last := pick(rng, running(f.workers))
	err := f.move(ctx, last.name+" is left alone", func(ctx context.Context) error {
		for _, w := range running(f.workers) {
			if w != last {
				if err := w.stop(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for range aloneKills {
		if err != nil {
			return err
		}
		err = f.step(ctx, last.name+" is killed, and back", func(ctx context.Context) error { return errors.Join(last.kill(ctx), restart(ctx, last)) })
	}
	return errors.Join(err, f.move(ctx, "others are back", func(ctx context.Context) error { return f.scaleTo(ctx, usualWorkers) }))
}

const aloneKills = 3

// killIngress kills one with kill -9: the callers go elsewhere.
func killIngress(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	p := pick(rng, f.ingress)
	if err := f.step(ctx, p.name+" is killed", p.kill); err != nil {
		return err
	}
	return f.step(ctx, p.name+" is back", func(ctx context.Context) error { return restart(ctx, p) })
}

// freezeWorker stops one beyond its time to live. Another one takes over and emits. When it goes on, it finds that out by what is refused, and emits
// nothing that is there already: the audit would see it.
func freezeWorker(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	w := pick(rng, running(f.workers))
	before, err := w.metric(ctx, refusedEmissions)
	if err != nil {
		return err
	}
	err = f.step(ctx, w.name+" is frozen", func(ctx context.Context) error { return w.signal(syscall.SIGSTOP) })
	if err != nil {
		return errors.Join(err, w.signal(syscall.SIGCONT))
	}
	err = f.step(ctx, w.name+" goes on", func(ctx context.Context) error { return w.signal(syscall.SIGCONT) })
	if err != nil {
		return err
	}
	after, err := w.metric(ctx, refusedEmissions)
	f.cfg.Log("%s had %.0f emissions refused before it was frozen, %.0f after", w.name, before, after)
	return err
}

const refusedEmissions = "triggerd_worker_emission_conflicts_total"

// killEachServer kills each server with kill -9, the next one when the one before is whole again.
func killEachServer(ctx context.Context, f *Fleet, _ *rand.Rand) error {
	for _, s := range f.nats {
		if err := f.bounce(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// bounce kills a server. Two of three go on.
func (f *Fleet) bounce(ctx context.Context, s *server) error {
	if err := f.step(ctx, s.name+" is killed", s.kill); err != nil {
		return err
	}
	return f.step(ctx, s.name+" is back", func(ctx context.Context) error {
		if err := s.start(); err != nil {
			return err
		}
		return s.awaitHealthy(ctx)
	})
}

// killLeader kills the server that leads a stream.
func killLeader(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	p := rng.IntN(f.cfg.Partitions)
	stream := pick(rng, []string{broker.TriggersStream(p), broker.EventsStream(p), "KV_" + broker.BucketMembers})
	s, err := f.leader(ctx, stream)
	if err != nil {
		return err
	}
	f.cfg.Log("%s leads %s", s.name, stream)
	return f.bounce(ctx, s)
}

// killAllServers leaves nobody to accept anything. Nobody is restarted but the servers.
func killAllServers(ctx context.Context, f *Fleet, _ *rand.Rand) error {
	return f.step(ctx, "all servers are killed, and back", func(ctx context.Context) error {
		for _, s := range f.nats {
			if err := s.kill(ctx); err != nil {
				return err
			}
		}
		for _, in := range f.ingress {
			if err := f.awaitRefusal(ctx, in, 0); err != nil {
				return err
			}
		}
		for _, s := range f.nats {
			if err := s.start(); err != nil {
				return err
			}
		}
		for _, s := range f.nats {
			if err := s.awaitHealthy(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// awaitRefusal waits until an ingress says 503 to what would go into partition p's log.
func (f *Fleet) awaitRefusal(ctx context.Context, in *process, p int) error {
	c := newClient([]string{in.public()}, f.token)
	defer c.http.CloseIdleConnections()
	_, err := c.until(ctx, http.MethodPut, "/v1/users/"+userOf(p, f.cfg.Partitions), conversation, http.StatusServiceUnavailable)
	return err
}

// cutIngress keeps the last ingress from the broker: first nothing comes through any more, then the connections break, then it may connect again, and
// does what it was about to do once more. At last what was under way arrives as well: late copies of batches, which the broker has forgotten.
func cutIngress(ctx context.Context, f *Fleet, _ *rand.Rand) error {
	in := f.ingress[ingresses-1]
	err := f.step(ctx, fmt.Sprintf("%s is cut off for %s", in.name, f.cfg.CutFor), func(ctx context.Context) error {
		f.eachProxy(func(p Proxy) { p.Refuse(true); p.Stall() })
		pause(ctx, f.cfg.CutFor/2)
		f.eachProxy(Proxy.CutClients)
		pause(ctx, f.cfg.CutFor/2)
		f.eachProxy(func(p Proxy) { p.Refuse(false) })
		return f.awaitWord(ctx, in)
	})
	if err != nil {
		return err
	}
	return f.step(ctx, "what it had sent arrives", func(ctx context.Context) error {
		pause(ctx, 2*duplicateWindow) // since it was sent once more
		f.eachProxy(Proxy.Flow)
		return f.progress(ctx, 1)
	})
}

func (f *Fleet) eachProxy(do func(Proxy)) {
	for _, p := range f.proxies {
		do(p)
	}
}

// awaitWord waits until an ingress accepts something for each partition.
func (f *Fleet) awaitWord(ctx context.Context, in *process) error {
	c := newClient([]string{in.public()}, f.token)
	defer c.http.CloseIdleConnections()
	for p := range f.cfg.Partitions {
		if _, err := c.until(ctx, http.MethodPut, "/v1/users/"+userOf(p, f.cfg.Partitions), conversation, http.StatusOK, http.StatusAccepted); err != nil {
			return err
		}
	}
	return nil
}

// setClocks sets the clock of a server that leads a log, of an ingress, and of a worker an hour wrong, one at a time, and back.
func setClocks(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	leader, err := f.leader(ctx, broker.TriggersStream(rng.IntN(f.cfg.Partitions)))
	if err != nil {
		return err
	}
	for _, p := range []*process{leader.process, pick(rng, f.ingress), pick(rng, running(f.workers))} {
		by := pick(rng, []time.Duration{time.Hour, -time.Hour})
		for _, ahead := range []time.Duration{by, 0} {
			err := f.step(ctx, fmt.Sprintf("clock of %s is %s ahead", p.name, ahead), func(ctx context.Context) error {
				if err := p.clock.Set(ahead); err != nil {
					return err
				}
				return f.progress(ctx, clockTriggers)
			})
			if err != nil {
				return errors.Join(err, p.clock.Set(0))
			}
		}
	}
	return nil
}

// clockTriggers is how many triggers each partition gets by a wrong clock.
const clockTriggers = 40

// restartEverything restarts everything in good order, one after the other.
func restartEverything(ctx context.Context, f *Fleet, _ *rand.Rand) error {
	for _, s := range f.nats {
		err := f.step(ctx, s.name+" is restarted", func(ctx context.Context) error {
			if err := errors.Join(s.stop(ctx), s.start()); err != nil {
				return err
			}
			return s.awaitHealthy(ctx)
		})
		if err != nil {
			return err
		}
	}
	for _, p := range append(running(f.workers), f.ingress...) {
		err := f.move(ctx, p.name+" is restarted", func(ctx context.Context) error {
			if err := p.stop(ctx); err != nil {
				return err
			}
			return restart(ctx, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
