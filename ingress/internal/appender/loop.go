package appender

import "time"

// run is the partition's goroutine: it reacts to callers, answers, the clock and the connection until it is drained or
// aborted.
func (p *partition) run() {
	defer p.timer.Stop()
	for {
		p.pulse.Turn()
		p.launch()
		if p.finished() {
			return
		}
		p.pulse.Rest()
		select {
		case <-p.wake:
			p.pulse.Turn()
			p.lookAround()
		case msg := <-p.acks:
			p.pulse.Turn()
			p.answer(msg)
		case <-p.timer.C:
			p.pulse.Turn()
			p.armed = false
			p.tick(time.Now())
		case <-p.a.abort:
			p.giveUp()
			return
		}
	}
}

// finished reports whether the partition is drained. Otherwise it sees to it that the clock runs while anybody waits.
func (p *partition) finished() bool {
	p.mu.Lock()
	busy := p.flying || p.queue.records > 0
	done := p.draining && !busy
	p.a.metrics.queue[p.id].Set(float64(p.queue.records))
	p.mu.Unlock()
	if busy && !p.armed {
		p.timer.Reset(p.a.cfg.tick())
		p.armed = true
	}
	return done
}
