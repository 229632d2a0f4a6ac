// Package alerts shows that faults fire the alerts of deploy/prometheus, and that their cures clear them: a broker, workers and an ingress as they are shipped, each a process
// of its own but the broker, scraped by a real Prometheus with the real rules. Only their durations are shorter, all by one factor.
//
// It needs the program prometheus (Debian's package has it) and takes minutes, so it is not among the tests that `go test ./...` runs: make alerts-test.
package alerts
