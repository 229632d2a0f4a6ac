package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/operator"
)

// Wrong is something that is not as it should be.
type Wrong struct {
	What string `json:"what"`
	Do   string `json:"do,omitempty"` // empty: What says it
}

func (w Wrong) String() string {
	if w.Do == "" {
		return w.What
	}
	return w.What + "; to do: " + w.Do
}

// errWrong: inspect has looked, and not all is well, as it has shown.
const errWrong = operator.Exit(3)

const (
	fullParts = 5   // four of five parts are nearly full
	lateAge   = 60. // seconds
)

// judge says what is wrong with a partition, the worst first.
func judge(r *Row) (wrong []Wrong) {
	add := func(do, format string, v ...any) {
		wrong = append(wrong, Wrong{What: fmt.Sprintf(format, v...), Do: do})
	}
	if r.Quarantined != "" {
		add(fmt.Sprintf("look at it (nats stream get TRIGGERS-%d %d) and at the files crash-* in the workers' directories; run a build that can apply it; worker resume -partition %[1]d",
			r.Partition, r.suspect), "quarantine: %s", r.Quarantined)
	}
	wrong = append(wrong, halts(r)...)
	switch {
	case r.Paused != "":
		add(fmt.Sprintf("worker resume -partition %d", r.Partition), "%s", r.Paused)
	case r.State == stateServing || r.State == stateHalted || r.State == stateUnknown:
	case r.State == stateUnowned:
		add("start a worker", "no worker has it; triggers are accepted, and wait")
	case r.State == stateSilent:
		add("look at that worker's log and /readyz?verbose, and again here in some seconds; if it does not come round, end it: others take over",
			"its owner %s at %s does not answer", orDash(r.Owner), orDash(r.OwnerHost))
	default:
		add("wait, and look again: LAG should fall", "its owner is %s, so it does not answer yet", r.State)
	}
	if r.Standing != nil && r.OldestAge > lateAge {
		add("look at that worker's /readyz?verbose, and at its machine", "what was accepted %s ago is not applied yet", age(r.OldestAge))
	}
	if r.Log != nil && nearlyFull(r.LogBytes, r.LogMaxBytes) {
		add("see that it is served, and that its worker can make snapshots: it is trimmed behind the older of two; to make room before that start a worker with a larger -triggers-max-bytes, which widens it at once",
			"its log holds %s of %s, and a full one refuses", size(r.LogBytes), size(uint64(r.LogMaxBytes)))
	}
	return wrong
}

// halts says each cause once: mostly all workers meet the same.
func halts(r *Row) (wrong []Wrong) {
	where := map[string][]string{}
	for id, cause := range r.Halted {
		cause = strings.TrimPrefix(cause, fmt.Sprintf("partition %d halted: ", r.Partition))
		where[cause] = append(where[cause], id)
	}
	for _, cause := range slices.Sorted(maps.Keys(where)) {
		slices.Sort(where[cause])
		do := fmt.Sprintf("when the cause is gone: worker resume -partition %d", r.Partition)
		if strings.Contains(cause, "to do:") {
			do = ""
		}
		wrong = append(wrong, Wrong{What: fmt.Sprintf("halted at worker %s: %s", strings.Join(where[cause], ", "), cause), Do: do})
	}
	return wrong
}

// ill says whether the row is to be marked.
func (r *Row) ill() bool {
	return len(r.Wrong) > 0 || slices.ContainsFunc(r.Copies, func(c Copies) bool { return !c.whole() })
}

func nearlyFull(bytes uint64, most int64) bool {
	return most > 0 && bytes >= uint64(most)/fullParts*(fullParts-1)
}

// unread is something that could not be found out of a partition. Where the broker is the reason its servers are judged elsewhere, for all.
func unread(what string, err error) Wrong {
	if broker.Away(err) {
		return Wrong{What: what + " is not known: the broker did not answer that"}
	}
	return Wrong{What: what + " is not known: " + err.Error()}
}

// unanswered is a question that was not answered as it should be. What the broker does not know without its leaders is their servers' matter.
func unanswered(what string, err error) Wrong {
	if what != "" {
		what += ": "
	}
	if broker.Away(err) {
		return Wrong{What: what + err.Error() + ": " + operator.NoLeader, Do: operator.FindServers}
	}
	return Wrong{What: what + err.Error()}
}
