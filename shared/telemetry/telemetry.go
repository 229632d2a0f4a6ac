// Package telemetry is what every process shows of itself: metrics, logs, and the admin port.
//
// # Usage
//
// A program makes one registry ([NewRegistry]), one logger ([LogConfig.Logger]) and one admin server ([Admin]), and hands the first two
// to its parts. Nothing here is global: several programs run in one process, each with its own.
//
// # Metrics
//
// Names are triggerd_<area>_<what>_<unit>[_total] with bounded labels. Histograms are made from [Histogram], so that each has classic
// buckets, for everybody, and a native histogram beside them, for a Prometheus that scrapes those.
//
// # Logs
//
// Text or JSON. A message is constant, what differs is in attributes. What goes wrong again and again is a [Trouble]; any other line that
// repeats is written [LogConfig].Repeat times in a window, and then how often there was more of it.
//
// # Failure
//
// /livez says only that the process can answer and that its loops turn; it touches nothing else, so that nobody restarts a process because its
// broker is away. /readyz says whether it can do its work, and with ?verbose what is wrong.
//
// # Concurrency
//
// Everything is safe for concurrent use.
package telemetry

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Resolution and bounds of native histograms: neighbouring buckets differ by at most 10 %, at most 160 of them are held, and
// when they were not enough the histogram may start anew once an hour.
const (
	nativeFactor     = 1.1
	nativeBuckets    = 160
	nativeMinRestart = time.Hour
)

// NewRegistry has the Go and process collectors and triggerd_build_info.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(),
	)
	return reg
}

// Histogram returns options with classic buckets and a native histogram beside them.
func Histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     nativeFactor,
		NativeHistogramMaxBucketNumber:  nativeBuckets,
		NativeHistogramMinResetDuration: nativeMinRestart,
	}
}

// buildInfo is always 1; its labels are the news.
func buildInfo() prometheus.Collector {
	version, revision := Build()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "triggerd_build_info",
		Help:        "What this process was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}

// revision is set by the linker where there is no checkout to read it from: see deploy/docker/Dockerfile.
var revision string

// Build is the module's version and the revision that this binary was built from, "unknown" if it does not say.
func Build() (version, commit string) {
	version, commit = "unknown", cmp.Or(revision, "unknown")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, commit
	}
	if info.Main.Version != "" {
		version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return version, commit
}
