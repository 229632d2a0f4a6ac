package partition

import "github.com/prometheus/client_golang/prometheus"

// What the ledger shows. All of it is a function of the log, so restarts and moves change nothing but where it is scraped; it falls only if counting begins anew.
var (
	descLogged = gauge("logged_records_total", "Records of the partition's log that were applied, as their batches say, since counting began (accounted_since_position). "+
		"With lag_records, those in flight, they are what was accepted. Always the sum of accounted_records.")
	descAccounted   = gauge("accounted_records_total", "The same records by what became of them: applied, rejected, duplicate (a late copy, or a known idempotency key), unreadable (a dead letter of nobody), control (ticks, limits).", "fate")
	descUnaccounted = gauge("unaccounted_records", "logged_records less the sum of accounted_records. Bad unless 0: a record became nothing (over 0), or something twice.")
	descUntold      = gauge("untold_events", "Events that must have followed from what was applied, less those that did. Bad unless 0: the runtime was not told, or was told too much.")
	descSince       = gauge("accounted_since_position", "Sequence of the last message that is not counted: 0 since the log began. Anything else since an older version wrote the partition's file.")
)

func describeLedger(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLogged, descAccounted, descUnaccounted, descUntold, descSince} {
		ch <- d
	}
}

// sendLedger shows the ledger as of the last message applied.
func (f *facts) sendLedger(ch chan<- prometheus.Metric, label string, send func(*prometheus.Desc, float64, ...string)) {
	l := &f.ledger
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{label}, labels...)...)
	}
	count(descLogged, l.Records)
	count(descAccounted, l.Applied, "applied")
	count(descAccounted, l.Rejected, "rejected")
	count(descAccounted, l.Duplicate, "duplicate")
	count(descAccounted, l.Unreadable, "unreadable")
	count(descAccounted, l.Control, "control")
	send(descUnaccounted, float64(l.Unaccounted()))
	send(descUntold, float64(int64(l.Events-f.events)))
	send(descSince, float64(l.Since))
}
