package loadgen

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Print writes the verdict for a person.
func (v *Verdict) Print(w io.Writer) {
	fmt.Fprintf(w, "run %s of %s, %d users, at %s\n\n", v.Run, v.Began.Format("2006-01-02 15:04:05 MST"), v.Users, v.URL)
	for _, row := range []struct {
		name string
		n    uint64
		what string
	}{
		{"accepted", v.Accepted, "triggers answered with 200, or found by their receipt"},
		{"applied", v.Applied, "triggers that the users' states count"},
		{"lost", v.Lost, "accepted, and not applied"},
		{"doubled", v.Doubled, "applied more often than accepted"},
		{"reordered", v.Reordered, "users with triggers out of their order"},
		{"replays", v.broken(Replays, Answers), "repeats whose answer does not fit to the first one"},
		{"rejected", v.Rejected, "accepted, and rejected with a reason when they were applied"},
		{"repeats", v.Repeats, "requests sent again under their key and answered"},
		{"duplicates", v.Duplicate, "of those, accepted under an id of their own that came to nothing"},
		{"refused", v.Refused, "requests refused: nothing of them was promised"},
		{"unknown", v.Unknown, "triggers whose outcome nobody told"},
		{"surfaced", v.Surfaced, "of those, applied all the same, once"},
		{"unresolved", v.Unproven, "of those, not applied so far"},
	} {
		fmt.Fprintf(w, "  %-11s %12d   %s\n", row.name, row.n, row.what)
	}
	fmt.Fprintln(w)
	printBreaches(w, v.Breaches)
	fmt.Fprintf(w, "%s\n\n%s\n", v.Statement, v.Signature)
}

// broken counts the breaches of some promises.
func (v *Verdict) broken(of ...Promise) (n uint64) {
	for _, b := range v.Breaches {
		if slices.Contains(of, b.Promise) {
			n++
		}
	}
	return n
}

// state says what was proven, and what could not be.
func (v *Verdict) state() string {
	var say []string
	if len(v.Breaches) > 0 {
		broken := map[Promise]bool{}
		for _, b := range v.Breaches {
			broken[b.Promise] = true
		}
		var names []string
		for _, p := range []Promise{Durable, Once, Ordered, Replays, Answers} {
			if broken[p] {
				names = append(names, string(p))
			}
		}
		say = append(say, fmt.Sprintf("Promises were broken (%s), %d times.", strings.Join(names, ", "), len(v.Breaches)))
	} else {
		say = append(say, fmt.Sprintf("Proven: each of the %d accepted triggers was applied exactly once, in its user's order, or rejected with a reason (%d).",
			v.Accepted, v.Rejected))
	}
	if n := v.Counted - min(v.Counted, max(v.Outcomes, v.Events)); n > 0 {
		say = append(say, fmt.Sprintf("Of %d of these only the count and the last number of their users are the proof, as a user shows its last %d changes: "+
			"one that was lost while another one of its user was doubled would not show (-outcomes or -nats-url would).", n, keptChanges))
	}
	if v.Outcomes > 0 {
		say = append(say, fmt.Sprintf("The outcomes of %d say so one by one.", v.Outcomes))
	}
	if v.Events > 0 {
		say = append(say, fmt.Sprintf("The events of %d say so one by one.", v.Events))
	}
	if v.Expired > 0 {
		say = append(say, fmt.Sprintf("Not asked: %d outcomes are no longer kept.", v.Expired))
	}
	if v.Unproven > 0 {
		say = append(say, fmt.Sprintf("Open: what becomes of %d triggers that nobody promised anything of.", v.Unproven))
	}
	if !v.Complete {
		say = append(say, "The run was cut off: its ledger has no end, and requests under way then count as unknown.")
	}
	return strings.Join(say, " ")
}
