package chaos

import (
	"strings"

	"github.com/triggerd/triggerd/shared/record"
)

// kept is the first of some events that did not follow from the lost tail; empty: all did. A delayed redirect may have fired because of anything there.
func (c *Cut) kept(events []Event) (id string) {
	for _, e := range events {
		trigger, second := strings.CutSuffix(e.ID, "-r")
		if _, lost := c.Lost[trigger]; !lost && !second {
			return e.ID
		}
	}
	return ""
}

// lost says whether an accepted attempt was in a tail that its log lost.
func (a *auditor) lost(u *User, at *Attempt) bool {
	for _, c := range a.cuts {
		if c.Lost[at.ID] == (Lost{u.Name, at.N}) {
			return true
		}
	}
	return false
}

// fresh: what was sent after a log was adopted has an id that was not handed out before.
func (a *auditor) fresh(u *User, at *Attempt, event string) {
	id, err := record.ParseID(event)
	for _, c := range a.cuts {
		if err == nil && c.Partition == id.Partition && at.Sent.After(c.Adopted) && id.Position.Seq > c.Kept && id.Position.Seq <= c.Last {
			a.fault("%s: number %d was sent after the log was adopted, and is %s: %d to %d were handed out before", u.Name, at.N, event, c.Kept+1, c.Last)
		}
	}
}
