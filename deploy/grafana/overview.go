package grafana

// dashboards are all of them.
var dashboards = []dashboard{overview, partitions, callers}

// overview answers in ten seconds: is accepting well, is applying well, is anything unsafe, and what to type.
var overview = dashboard{
	name: "overview", title: "triggerd / Overview", refresh: "10s",
	panels: []panel{
		{
			title: "Accepting: answered 5xx", kind: number, w: 6, h: 5, unit: "percentunit", warn: 0.001, bad: 0.0144,
			says:    "Share of what was sent to be accepted and was answered 5xx. The objective is 0.1 % over 30 days; at red they are used up in two. What callers do wrong, or send beyond their limits, is not in it.",
			queries: []query{{"triggerd:accept_errors:ratio_rate5m", "5 min"}, {"triggerd:accept_errors:ratio_rate1h", "1 h"}},
			alerts:  []string{"AcceptErrorsFast and AcceptErrorsSlow"}, none: "no ingress",
		},
		{
			title: "Accepting: answered after more than 250 ms", kind: number, w: 6, h: 5, unit: "percentunit", warn: 0.01, bad: 0.144,
			says:    "Share of requests with one trigger that were answered later than that. The objective is 1 % over 30 days.",
			queries: []query{{"triggerd:accept_slow:ratio_rate5m", "5 min"}, {"triggerd:accept_slow:ratio_rate1h", "1 h"}},
			alerts:  []string{"AcceptSlowFast and AcceptSlowSlow"}, none: "no ingress",
		},
		{
			title: "Applying: oldest trigger that waits", kind: number, w: 4, h: 5, unit: "s", bad: 30,
			says:    "Age of the oldest accepted trigger that is not applied, of the partition that is worst. From 30 s on the partition counts as stale: users see old state; nothing is lost.",
			queries: []query{{"max(triggerd:oldest_unapplied:seconds)", "waits"}},
			alerts:  []string{"StaleFast and StaleSlow"}, none: "no worker",
		},
		{
			title: "Fullest log", kind: number, w: 4, h: 5, unit: "percentunit", warn: 0.7, bad: 0.9, max: 1,
			says:    "Of what it may hold. A full one refuses, and nothing is accepted for its partition. Logs are trimmed up to the older of two snapshots.",
			queries: []query{{"max(triggerd:log_filled:ratio)", "full"}},
			alerts:  []string{"LogFilling and LogNearlyFull"}, section: "resize-the-logs", none: "no worker",
		},
		{
			title: "Least room on a disk", kind: number, w: 4, h: 5, unit: "percentunit", warn: 0.1, bad: 0.03, low: true, max: 1,
			says:    "Free of what the disk has, of the workers (and a standalone's broker). On a full one checkpoints fail, or appends are answered 503. The servers of a broker of its own are not in it.",
			queries: []query{{"min(triggerd:disk_free:ratio)", "free"}},
			alerts:  []string{"DiskFilling and DiskNearlyFull"}, section: "resize-a-disk", none: "no worker",
		},
		{
			title: "Partitions: all of these should be 0", kind: number, w: 10, h: 5, unit: "short", bad: 1,
			says: "Served by no worker, though nobody paused them (some seconds of it are a takeover); stopped rather than guess; with a message that ended processes; paused by an operator, who may have forgotten.",
			queries: []query{
				{"sum((triggerd:partition_served:bool == bool 0) * on (partition) (triggerd:partition_paused:bool == bool 0))", "unserved"},
				{"sum(max by (partition) (triggerd_worker_halted))", "halted"},
				{"sum(max by (partition) (triggerd_worker_quarantined))", "in quarantine"},
				{"sum(triggerd:partition_paused:bool)", "paused"},
			},
			alerts: []string{"PartitionUnserved", "PartitionHalted", "MessageQuarantined", "PartitionPaused"}, section: "pause-and-resume", none: "no worker",
		},
		{
			title: "Data: all of these must be 0", kind: number, w: 10, h: 5, unit: "short", bad: 1,
			says: "Partitions with records that became nothing, or something twice; with events that were derived and are not in EVENTS, or twice; comparisons, in an hour, in which a standby differed from its owner; logs that lost, in a day, what they had acknowledged; processes whose broker does not sync always, or does not say so.",
			queries: []query{
				{"sum(max by (partition) (triggerd_worker_unaccounted_records != bool 0))", "unaccounted"},
				{"sum(max by (partition) (triggerd_worker_untold_events != bool 0))", "untold"},
				{`sum(increase(triggerd_worker_digest_comparisons_total{result="different"}[1h]))`, "standbys differ"},
				{"sum(increase(triggerd_ingress_append_reversals_total[1d]))", "logs reversed"},
				{"sum(triggerd_broker_sync_always != bool 1)", "not synced"},
			},
			alerts: []string{"Unaccounted and EventsUntold", "DigestsDiffer", "LogReversed", "DurabilityWrong"}, none: "no data",
		},
		{
			title: "Processes down", kind: number, w: 4, h: 5, unit: "short", bad: 1,
			says:    "Ingresses and workers that Prometheus does not reach, of the jobs that have had one of them within a day.",
			queries: []query{{"count(up == 0 and on (job) max by (job) (max_over_time(triggerd_build_info[1d]))) or vector(0)", "down"}},
			alerts:  []string{"NoIngress and NoWorker"}, section: "start",
		},
		{
			title: "What fires", kind: table, w: 24, h: 5, unit: "short",
			says:    "Alerts that fire. The runbook has a section for each of their names: what it means, where to look, what to type.",
			queries: []query{{`max by (severity, alertname, partition, instance) (ALERTS{alertstate="firing"})`, ""}},
			section: "alerts", none: "nothing fires",
		},
		{
			title: "Accepted, applied, emitted", kind: graph, w: 12, h: 8, unit: "cps",
			says: "Triggers a second that became durable and that were applied, and events that are in EVENTS. Applied below accepted is a backlog that grows; above it, one that shrinks, or a worker that applies again what came after its file or snapshot.",
			queries: []query{
				{"sum(rate(triggerd_ingress_accepted_total[$__rate_interval]))", "accepted"},
				{"sum(rate(triggerd_worker_applied_total[$__rate_interval]))", "applied"},
				{"sum(rate(triggerd_worker_events_emitted_total[$__rate_interval]))", "emitted"},
			},
		},
		{
			title: "Time to answer one trigger", kind: graph, w: 12, h: 8, unit: "s", bad: 0.25,
			says:    "From a request's headers to its answer, over all ingresses. The objective is that 99 % take less than 250 ms.",
			queries: quantiles(`triggerd_ingress_request_seconds_bucket{route=~"/actionsvc/trigger-response/?"}`, "", 0.5, 0.99),
			alerts:  []string{"AcceptSlowFast and AcceptSlowSlow"},
		},
	},
}
