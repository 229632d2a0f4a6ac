// Package prometheus holds the rules for Prometheus, and the tests that hold them to what the processes export and to the runbook. What the rules say is tested by
// promtool (make rules); that faults fire them, with real processes and a real Prometheus, by deploy/e2e/alerts (make alerts-test).
package prometheus
