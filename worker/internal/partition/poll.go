package partition

import (
	"context"
	"time"
)

// poll asks about the end of the log once in a while, so that lag is right also while the actor or the source is stuck.
func (a *actor) poll(ctx context.Context) {
	t := time.NewTicker(a.cfg.PollEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			a.pollOnce(ctx)
		}
	}
}

// pollOnce reads how far the log reaches and how full it is, and the time of the next message if that is unknown. Errors are shown by others.
func (p *Partition) pollOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.BrokerTimeout)
	defer cancel()
	log, err := p.deps.Broker.Log(ctx, p.cfg.Partition)
	if err != nil {
		return
	}
	p.view.update(func(f *facts) { f.last, f.logBytes, f.logMax = max(f.last, log.Last), log.Bytes, log.MaxBytes })
	f := p.view.read()
	if f.lag() == 0 || f.next != 0 {
		return
	}
	if msg, err := p.deps.Broker.Message(ctx, p.cfg.Partition, f.applied+1); err == nil {
		p.view.seen(msg.Sequence, msg.Time.UnixMilli())
	}
}
