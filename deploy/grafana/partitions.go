package grafana

import "fmt"

// partitions is for whoever asks why one partition, or one worker, is not like the others.
var partitions = dashboard{
	name: "partitions", title: "triggerd / Partitions and workers", refresh: "30s", filters: []filter{byPartition, byInstance},
	panels: []panel{
		{
			title: "Served", kind: states, w: 12, h: 7, unit: "short",
			says:    "Whether some worker serves the partition. A gap of some seconds is a takeover; a partition that moves is served throughout.",
			queries: []query{{`triggerd:partition_served:bool{partition=~"$partition"}`, "{{partition}}"}},
			alerts:  []string{"PartitionUnserved"}, section: "pause-and-resume",
		},
		{
			title: "Partitions of each worker", kind: graph, w: 12, h: 7, unit: "short",
			says: "What each worker serves, and what it follows to take over at once. Workers share evenly; with two or more of them each partition has a standby, unless -standby 0.",
			queries: []query{
				{`triggerd_worker_owned_partitions{instance=~"$instance"}`, "{{instance}} serves"},
				{`triggerd_worker_standby_partitions{instance=~"$instance"}`, "{{instance}} follows"},
			},
			alerts: []string{"NoStandby"}, section: "scale",
		},
		{
			title: "Oldest trigger that waits", kind: graph, w: 12, h: 7, unit: "s", bad: 30,
			says:    "Age of the oldest record in the partition's log that is not applied. All partitions at once: workers are too few or too slow. One alone: it has more load than others, or is halted or paused.",
			queries: []query{{`triggerd:oldest_unapplied:seconds{partition=~"$partition"}`, "{{partition}}"}},
			alerts:  []string{"StaleFast and StaleSlow"}, section: "scale",
		},
		{
			title: "Applied", kind: graph, w: 12, h: 7, unit: "cps",
			says:    "Triggers applied a second. One goroutine applies a partition, so its limit is that of one core.",
			queries: []query{{`sum by (partition) (rate(triggerd_worker_applied_total{partition=~"$partition"}[$__rate_interval]))`, "{{partition}}"}},
		},
		{
			title: "Log, of what it may hold", kind: graph, w: 12, h: 7, unit: "percentunit", warn: 0.7, bad: 0.9, max: 1,
			says:    "Bytes of the log ÷ -triggers-max-bytes. It falls when a snapshot lets go of it, and rises while no worker applies the partition.",
			queries: []query{{`triggerd:log_filled:ratio{partition=~"$partition"}`, "{{partition}}"}},
			alerts:  []string{"LogFilling and LogNearlyFull"}, section: "resize-the-logs",
		},
		{
			title: "Age of the newest snapshot", kind: graph, w: 12, h: 7, unit: "s", warn: 3600,
			says:    "A worker without its files replays what came since, and the log is trimmed up to the older of two. Old is as it should be while nothing is applied.",
			queries: []query{{`max by (partition) (triggerd_worker_snapshot_age_seconds{partition=~"$partition"})`, "{{partition}}"}},
			alerts:  []string{"SnapshotTooOld and SnapshotFailing"},
		},
		{
			title: "Events that wait for the broker", kind: graph, w: 12, h: 7, unit: "short",
			says:    "Events that are derived and not known to be in EVENTS. Bad if it stays high: the broker does not take them, and applying waits for that.",
			queries: []query{{`max by (partition) (triggerd_worker_unacknowledged_events{partition=~"$partition"})`, "{{partition}}"}},
			alerts:  []string{"EmissionStuck", "EmissionConflicts"},
		},
		{
			title: "Checkpoints: age, and time to write", kind: graph, w: 12, h: 7, unit: "s", bad: 30,
			says: "For how long something applied has not been in a checkpoint, and the 99th percentile of writing one. Bad over half a minute, and over seconds: the disk is slow or full.",
			queries: append([]query{{`max by (partition) (triggerd_worker_checkpoint_age_seconds{partition=~"$partition"})`, "{{partition}} age"}},
				quantiles(`triggerd_worker_checkpoint_duration_seconds_bucket{partition=~"$partition"}`, "partition", 0.99)...),
			alerts: []string{"CheckpointFailing"}, section: "resize-a-disk",
		},
		{
			title: "Moves", kind: graph, w: 12, h: 7, unit: "short",
			says:    "Partitions that workers began to serve (in) or gave up (out) in five minutes, by cause. Bad while nobody starts or stops workers: expired is a worker that was not heard of.",
			queries: []query{{`sum by (direction, cause) (increase(triggerd_worker_moves_total{instance=~"$instance"}[5m]))`, "{{direction}}: {{cause}}"}},
		},
		{
			title: "Standbys behind", kind: graph, w: 12, h: 7, unit: "short",
			says:    "Messages that the partition's standby has not applied: what a takeover would have to do first.",
			queries: []query{{`max by (partition) (triggerd_worker_standby_lag_messages{partition=~"$partition"})`, "{{partition}}"}},
			alerts:  []string{"NoStandby", "DigestsDiffer"},
		},
		{
			title: "Room for idempotency keys, used", kind: graph, w: 12, h: 7, unit: "percentunit", warn: 0.8, max: 1,
			says:    "Keys that are remembered, of those for which the partition has room. At the end of it new ones are answered 429 key_budget.",
			queries: []query{{`triggerd:key_budget:ratio{partition=~"$partition"}`, "{{partition}}"}},
			alerts:  []string{"KeyBudget"}, section: "change-a-limit-that-is-part-of-the-logs",
		},
		{
			title: "Processors", kind: graph, w: 12, h: 7, unit: "short",
			says:    "Cores in use by each process. A worker at as many as it has partitions, or at those of its machine, is at its end.",
			queries: []query{{`rate(process_cpu_seconds_total{instance=~"$instance"}[$__rate_interval]) and on (instance) triggerd_build_info`, "{{instance}}"}},
			section: "grow-past-a-machine",
		},
	},
}

// quantiles asks a histogram for each q, over all processes, and by a label unless that is empty.
func quantiles(buckets, by string, qs ...float64) []query {
	labels, legend := "le", ""
	if by != "" {
		labels, legend = "le, "+by, "{{"+by+"}} "
	}
	var out []query
	for _, q := range qs {
		out = append(out, query{fmt.Sprintf("histogram_quantile(%g, sum by (%s) (rate(%s[$__rate_interval])))", q, labels, buckets), fmt.Sprintf("%sp%g", legend, q*100)})
	}
	return out
}
