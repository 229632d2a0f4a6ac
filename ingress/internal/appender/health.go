package appender

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ailment is why a partition's last batch was not taken, and since when that is known.
type ailment struct {
	at  time.Time
	why error
}

// shownPartitions bounds how many partitions Describe names for one reason.
const shownPartitions = 8

// Describe tells for a person which logs did not take the last batch that was sent to them, by the reason. Nobody knows whether they would take one
// now. It is no check of readiness: all ingresses write to the same logs, so that another one could do no better, and reading goes on. Safe for
// concurrent use.
func (a *Appender) Describe() string {
	ids, last, ailing := map[string][]string{}, map[string]time.Time{}, 0
	for _, p := range a.parts {
		ill := p.ailing.Load()
		if ill == nil {
			continue
		}
		ailing++
		why := ill.why.Error()
		if ids[why] = append(ids[why], strconv.Itoa(p.id)); ill.at.After(last[why]) {
			last[why] = ill.at
		}
	}
	if ailing == 0 {
		return fmt.Sprintf("none of %d refused the last batch", len(a.parts))
	}
	var reasons []string
	for _, why := range slices.Sorted(maps.Keys(ids)) {
		shown, more := ids[why], ""
		if n := len(shown) - shownPartitions; n > 0 {
			shown, more = shown[:shownPartitions], fmt.Sprintf(" and %d more", n)
		}
		reasons = append(reasons, fmt.Sprintf("partition %s%s, %s ago: %s", strings.Join(shown, ", "), more, time.Since(last[why]).Round(time.Second), why))
	}
	return fmt.Sprintf("%d of %d did not take the last batch, requests for them are answered with 503: %s", ailing, len(a.parts), strings.Join(reasons, "; "))
}
