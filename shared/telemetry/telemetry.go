// Package telemetry is what every process shows of itself: metrics, logs, and the admin port.
package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/lifecycle"
)

// NewRegistry has the Go and process collectors and triggerd_build_info.
func NewRegistry() *prometheus.Registry { panic("skeleton") }

// Histogram returns options with classic buckets and a native histogram beside them.
func Histogram(name, help string, buckets []float64) prometheus.HistogramOpts { panic("skeleton") }

// AdminHandler serves /metrics, /livez, /readyz (?verbose), /debug/pprof/, and what pages adds.
func AdminHandler(reg *prometheus.Registry, health *lifecycle.Health, pages map[string]http.Handler) http.Handler {
	panic("skeleton")
}
