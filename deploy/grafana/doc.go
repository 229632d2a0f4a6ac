// Package grafana is the dashboards, as code: a panel is a title, a sentence, queries, a unit, the bounds beyond which somebody has to do something, and where the runbook
// says what. Everything that Grafana wants beside that is the same for all and made in one place. The files in dashboards/ are made from it, and are what a Grafana (11 or
// newer) is given; they are not edited by hand, there or in Grafana.
//
//	make dashboards                               # after a change: writes the files
//	make queries                                  # lets promtool read every query
//	make dashboards-try                           # asks them all of a real Prometheus with a real deployment, for two minutes
//	make dashboards TRY=http://127.0.0.1:9090     # asks another Prometheus, and says what came
//
// # What the tests hold
//
// The files are what this package makes. Each metric of each query is one that a real process shows, or a rule of deploy/prometheus makes, with the labels that the query
// names. Each panel has a unit and a sentence. Bounds are those of alerts, and panels with bounds lead to the runbook.
package grafana
