package process

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// shownDifferences bounds how many of them /readyz?verbose names; the log and the metric have them all.
const shownDifferences = 8

// showSettings shows which streams are otherwise than this process would make them. They work, so it is no reason not to be ready.
func showSettings(env *Env) error {
	differing := env.Broker.Differences()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "triggerd_broker_setting_differs",
		Help: "1 for each setting that a stream has otherwise than this process was told, as found at its start and not put right. Works; bad for replicas: tell all processes the same, or change the stream. See settings in /readyz?verbose.",
	}, []string{"stream", "setting"})
	var all []string
	for _, d := range differing {
		gauge.WithLabelValues(d.Stream, d.Setting).Set(1)
		all = append(all, fmt.Sprintf("%s of %s is %s, not %s", d.Setting, d.Stream, d.Have, d.Want))
	}
	detail := "as told"
	if len(all) > shownDifferences {
		all = append(all[:shownDifferences], fmt.Sprintf("and %d more", len(all)-shownDifferences))
	}
	if len(all) > 0 {
		detail = strings.Join(all, "; ")
	}
	env.Health.Register("settings", func() (string, error) { return detail, nil })
	return env.Registry.Register(gauge)
}
