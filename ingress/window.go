package ingress

import (
	"fmt"
	"strings"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
)

// settingWindow is how a stream's duplicate window is called among the differences.
const settingWindow = "duplicate_window"

// shortestWindow is for how long every log knows a repeated batch: as this process was told, unless a log was found otherwise and is still so.
func shortestWindow(told time.Duration, differing []broker.Difference) time.Duration {
	shortest := told
	for _, d := range differing {
		if d.Setting != settingWindow || !strings.HasPrefix(d.Stream, "TRIGGERS-") {
			continue
		}
		if have, err := time.ParseDuration(d.Have); err == nil {
			shortest = min(shortest, have)
		}
	}
	return shortest
}

// windowFault says why a batch may be repeated when the logs do not know it any more, while a caller still waits for it; empty: it is not. The
// state is right even then, because the machine knows writers and numbers, but the caller is told the place of the copy, which came to nothing.
func windowFault(window, callersWait time.Duration) string {
	if window > callersWait {
		return ""
	}
	return fmt.Sprintf("a log knows a repeated batch for %s, and callers wait %s for theirs: the trigger_id that one gets may be that of a copy that was not applied; "+
		"to do: start workers with a -duplicate-window that is longer, or ingresses with a shorter -append-timeout", window, callersWait)
}

// checkWindow compares the two at start, and shows what it found. It is no reason not to be ready: what is accepted is applied, once.
func (in *Ingress) checkWindow(deps Deps) {
	window := shortestWindow(deps.Broker.Settings().DuplicateWindow, deps.Broker.Differences())
	detail := fmt.Sprintf("a repeated batch is known for %s, callers wait %s", window, in.cfg.AppendTimeout)
	if fault := windowFault(window, in.cfg.AppendTimeout); fault != "" {
		detail = fault
		in.log.Warn("duplicate window is not longer than callers wait", "window", window, "append_timeout", in.cfg.AppendTimeout, "cause", fault)
	}
	deps.Health.Register("duplicates", func() (string, error) { return detail, nil })
}
