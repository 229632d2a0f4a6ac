package appender

// tally counts the batch in flight, which lies at seq. One batch follows the other, and a log only grows: a place that is not behind the last one was
// given away twice, so what lay there is gone, although it was acknowledged. A worker that had not applied it yet could not know.
func (p *partition) tally(seq uint64) {
	p.a.metrics.stored[p.id].Add(float64(len(p.flight.calls)))
	if seq <= p.reached {
		p.a.metrics.reversals[p.id].Inc()
		p.a.log.Error("log has lost what it had acknowledged: it gives a place a second time; to do: keep the disks of the broker as they are, and see LogReversed in deploy/RUNBOOK.md",
			"partition", p.id, "seq", seq, "acknowledged", p.reached)
	}
	p.reached = seq
}
