package grafana

// ours are the answers that are not the caller's doing: 5xx.
const ours = "unavailable|unknown_outcome|internal"

// callers is for whoever asks what integrators see, and which of them: by class, since accounts are without number and so are in no metric. The log names one where it matters.
var callers = dashboard{
	name: "ingress", title: "triggerd / Ingress and integrators", refresh: "30s", filters: []filter{byInstance},
	panels: []panel{
		{
			title: "Accepted, by class of account", kind: graph, w: 12, h: 7, unit: "cps",
			says:    "Triggers a second. Accounts are usual if they have the limit that all have (-rate-limit), own if one of their own (ingress limit), unlimited if none.",
			queries: []query{{"sum by (class) (" + triggersOf(`answer=~"accepted|repeated"`) + ")", "{{class}}"}},
		},
		{
			title: "Over the limit, by class of account", kind: graph, w: 12, h: 7, unit: "percentunit", max: 1,
			says:    "Share of the class's triggers that were answered 429 because their account sends more than it may. The log of an ingress names accounts.",
			queries: []query{{"sum by (class) (" + triggersOf(`answer="rate_limited"`) + ")\n  / sum by (class) (" + triggersOf() + ")", "{{class}}"}},
			section: "limit-an-account",
		},
		{
			title: "Answered 5xx, by class of account", kind: graph, w: 12, h: 7, unit: "percentunit", warn: 0.001, bad: 0.0144,
			says:    "Share of the class's triggers. A class that is alone in this has an account that holds as much as one may: see what is not stored, by cause.",
			queries: []query{{"sum by (class) (" + triggersOf(`answer=~"`+ours+`"`) + ")\n  / sum by (class) (" + triggersOf() + ")", "{{class}}"}},
			alerts:  []string{"AcceptErrorsFast and AcceptErrorsSlow"},
		},
		{
			title: "Not stored by our doing, by cause", kind: graph, w: 12, h: 7, unit: "cps",
			says: "Records and requests a second that were answered 503, by what kept them out. broker_away and log_refused: look at the broker. queue_full and limits: too much comes. account_share: one account sends too much.",
			queries: []query{
				{`sum by (cause) (rate(triggerd_ingress_append_refused_records_total{instance=~"$instance"}[$__rate_interval])) > 0`, "{{cause}}"},
				{`sum by (limit) (rate(triggerd_ingress_overloads_total{instance=~"$instance"}[$__rate_interval])) > 0`, "limit {{limit}}"},
				{`sum(rate(triggerd_ingress_append_unknown_records_total{instance=~"$instance"}[$__rate_interval])) > 0`, "unknown outcome"},
			},
			alerts: []string{"LogRefuses", "Overloaded", "UnknownOutcomes"}, none: "everything is stored",
		},
		{
			title: "Refused by the callers' doing", kind: graph, w: 12, h: 7, unit: "cps",
			says:    "Triggers a second that were refused for what is in them, by code and class of account. Theirs to mend; the OpenAPI document says what each code means.",
			queries: []query{{"sum by (class, answer) (" + triggersOf(`answer!~"accepted|repeated|rate_limited|`+ours+`"`) + ") > 0", "{{answer}} ({{class}})"}},
			none:    "nothing is refused",
		},
		{
			title: "Rejected when applied", kind: graph, w: 12, h: 7, unit: "percentunit", warn: 0.2, max: 1,
			says:    "Share of triggers that were accepted and then rejected, mostly because their user is unknown.",
			queries: []query{{"triggerd:rejected:ratio_rate15m", "rejected"}, {"triggerd:unverified:ratio_rate5m", "accepted without knowing the user"}},
			alerts:  []string{"RejectedShare", "UnverifiedAccepts"},
		},
		{
			title: "Time to answer, p99", kind: graph, w: 12, h: 7, unit: "s",
			says:    "From a request's headers to its answer, by route. A batch takes as long as its slowest item.",
			queries: quantiles(`triggerd_ingress_request_seconds_bucket{instance=~"$instance",route=~"/(actionsvc|v1)/.*"}`, "route", 0.99),
		},
		{
			title: "Time to make durable", kind: graph, w: 12, h: 7, unit: "s", bad: 0.25,
			says:    "From an append to its acknowledgement, synced to disk. Answers are late when this is: the broker's disks are slow, or full of other work. At -append-timeout (0.75 s unless set) they turn 503.",
			queries: quantiles(`triggerd_ingress_append_duration_seconds_bucket{instance=~"$instance"}`, "", 0.5, 0.99),
			alerts:  []string{"AcceptSlowFast and AcceptSlowSlow"},
		},
		{
			title: "In hand", kind: graph, w: 12, h: 7, unit: "short",
			says: "Requests that are not answered yet, those of them that wait for their account's turn (-turns), and records that wait for the logs, of each ingress. They end at -max-requests (4096), and for each partition at -queue-records (16384).",
			queries: []query{
				{`triggerd_ingress_requests_in_hand{instance=~"$instance"}`, "{{instance}} requests"},
				{`triggerd_ingress_requests_waiting{instance=~"$instance"}`, "{{instance}} waiting for a turn"},
				{`sum by (instance) (triggerd_ingress_append_queue_records{instance=~"$instance"})`, "{{instance}} records"},
			},
			alerts: []string{"Overloaded"}, section: "scale",
		},
		{
			title: "Sent again under a key", kind: graph, w: 12, h: 7, unit: "cps",
			says:    "Triggers a second with an idempotency key, by what was known of it: replayed has no second effect, mismatch is another request under the same key, no_room is 429 key_budget.",
			queries: []query{{`sum by (result) (rate(triggerd_ingress_idempotency_keys_total{instance=~"$instance"}[$__rate_interval]))`, "{{result}}"}},
			alerts:  []string{"KeyBudget"},
		},
		{
			title: "Tokens refused", kind: graph, w: 12, h: 7, unit: "cps",
			says:    "Tokens a second that were refused, by reason. unknown_key and signature after a rotation: somebody still has an old token.",
			queries: []query{{`sum by (reason) (rate(triggerd_ingress_tokens_refused_total{instance=~"$instance"}[$__rate_interval])) > 0`, "{{reason}}"}},
			alerts:  []string{"TokensExpired"}, section: "rotate-keys", none: "none is refused",
		},
		{
			title: "How old is what the ingresses know", kind: graph, w: 12, h: 7, unit: "s", bad: 600,
			says: "Time since keys, revoked tokens, limits and Modules were last read completely, of the ingress that is worst. What was changed since may be unknown to it.",
			queries: []query{
				{`max(triggerd_ingress_keys_age_seconds{instance=~"$instance"})`, "keys"},
				{`max(triggerd_ingress_revocations_list_age_seconds{instance=~"$instance"})`, "revoked tokens"},
				{`max(triggerd_ingress_rate_list_age_seconds{instance=~"$instance"})`, "limits"},
				{`max(triggerd_ingress_modules_list_age_seconds{instance=~"$instance"})`, "Modules"},
			},
			alerts: []string{"KeysOld", "RevocationsOld"}, section: "rotate-keys",
		},
	},
}

// triggersOf is the rate of triggers with such labels.
func triggersOf(labels ...string) string {
	selected := `triggerd_ingress_triggers_total{instance=~"$instance"`
	for _, l := range labels {
		selected += "," + l
	}
	return "rate(" + selected + "}[$__rate_interval])"
}
