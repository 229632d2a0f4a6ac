package appender

import (
	"fmt"
	"strings"
	"time"
)

// ailment is why a partition's last batch was not taken, and since when that is known.
type ailment struct {
	at  time.Time
	why error
}

// shownAilments bounds how many partitions Describe names.
const shownAilments = 4

// Describe tells for a person which logs did not take the last batch that was sent to them. Nobody knows whether they would take one now. It is
// no check of readiness: all ingresses write to the same logs, so that another one could do no better, and reading goes on. Safe for
// concurrent use.
func (a *Appender) Describe() string {
	var named []string
	ailing := 0
	for _, p := range a.parts {
		ill := p.ailing.Load()
		if ill == nil {
			continue
		}
		if ailing++; ailing <= shownAilments {
			named = append(named, fmt.Sprintf("partition %d, %s ago: %s", p.id, time.Since(ill.at).Round(time.Second), ill.why))
		}
	}
	switch {
	case ailing == 0:
		return fmt.Sprintf("no log of %d refused the last batch", len(a.parts))
	case ailing > shownAilments:
		named = append(named, fmt.Sprintf("and %d more", ailing-shownAilments))
	}
	return fmt.Sprintf("%d of %d logs did not take the last batch, requests for them are answered with 503: %s", ailing, len(a.parts), strings.Join(named, "; "))
}
