package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// version of both values. What a later version wrote is not understood: see the package's comment on failure.
const version = 1

// Bounds of what is kept of a partition.
const (
	MaxSuspects = 8   // positions; the innocent ones that were reported first make room
	MaxReports  = 8   // of a position; more prove nothing more
	MaxText     = 512 // bytes of a reason, and of what a crash said
)

// Word is an operator's last word on a partition.
type Word struct {
	Version int       `json:"version"`
	Paused  bool      `json:"paused"`
	Who     string    `json:"who"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
}

// Kinds of an end.
const (
	KindCrash  = "crash"  // a fatal error of our own
	KindKilled = "killed" // without a trace: kill -9, no memory left, no power
)

// End is a report that a process ended while it applied a message.
type End struct {
	Home string    `json:"home"` // the directory that the process had
	Run  string    `json:"run"`  // the process; of the same one a second report is the first one repeated
	Kind string    `json:"kind"`
	At   time.Time `json:"at"` // when it was found out
	Text string    `json:"text,omitempty"`
}

// Suspect is a position at which processes have ended.
type Suspect struct {
	Seq     uint64 `json:"seq"`
	Reports []End  `json:"reports"`
}

// Guilty says whether the position is in quarantine.
func (s Suspect) Guilty() bool {
	crashes, byHome := 0, map[string]int{}
	for _, r := range s.Reports {
		byHome[r.Home]++
		if r.Kind == KindCrash {
			crashes++
		}
		if crashes >= 2 || byHome[r.Home] >= 2 {
			return true
		}
	}
	return false
}

// String tells a person who met what.
func (s Suspect) String() string {
	ends := make([]string, len(s.Reports))
	for i, r := range s.Reports {
		ends[i] = fmt.Sprintf("%s in home %s at %s", r.Kind, r.Home, r.At.UTC().Format(time.RFC3339))
		if r.Text != "" {
			ends[i] += " (" + r.Text + ")"
		}
	}
	return fmt.Sprintf("message %d ended %d processes: %s", s.Seq, len(ends), strings.Join(ends, ", "))
}

type suspects struct {
	Version  int       `json:"version"`
	Suspects []Suspect `json:"suspects"`
}

// Order is what holds for a partition. It is not to be changed.
type Order struct {
	Word     Word      // zero: no operator has ever said anything
	Revision uint64    // of Word; it rises with every word
	Suspects []Suspect // by position
	fault    error     // Word could not be read
}

// Paused says whether nobody is to run the partition.
func (o *Order) Paused() bool { return o.Word.Paused || o.fault != nil }

// PausedBy tells a person who paused it and why.
func (o *Order) PausedBy() string {
	if o.fault != nil {
		return o.fault.Error()
	}
	text := fmt.Sprintf("paused by %s at %s", o.Word.Who, o.Word.At.UTC().Format(time.RFC3339))
	if o.Word.Reason != "" {
		text += ": " + o.Word.Reason
	}
	return text
}

// Suspect is what is known against a position.
func (o *Order) Suspect(seq uint64) (Suspect, bool) {
	i := slices.IndexFunc(o.Suspects, func(s Suspect) bool { return s.Seq == seq })
	if i < 0 {
		return Suspect{}, false
	}
	return o.Suspects[i], true
}

// Quarantined is the lowest position in quarantine.
func (o *Order) Quarantined() (Suspect, bool) {
	i := slices.IndexFunc(o.Suspects, Suspect.Guilty)
	if i < 0 {
		return Suspect{}, false
	}
	return o.Suspects[i], true
}

// Keys of the bucket; they say what data means and never change.
const (
	pausePrefix = "pause."
	crashPrefix = "crash."
)

func pauseKey(p int) string { return pausePrefix + strconv.Itoa(p) }
func crashKey(p int) string { return crashPrefix + strconv.Itoa(p) }

// newOrder is what the two values of a partition mean; nil: there is none.
func newOrder(pause []byte, revision uint64, crash []byte) (*Order, error) {
	o := &Order{}
	var faults []error
	if pause != nil {
		o.Revision = revision
		if o.fault = read(pause, &o.Word, &o.Word.Version); o.fault != nil {
			o.fault = fmt.Errorf("counts as paused: read key: %w", o.fault)
			faults = append(faults, o.fault)
		}
	}
	var s suspects
	if crash != nil {
		if err := read(crash, &s, &s.Version); err != nil {
			faults = append(faults, fmt.Errorf("read suspects: %w", err))
			s.Suspects = nil
		}
	}
	o.Suspects = s.Suspects
	return o, errors.Join(faults...)
}

func read(data []byte, into any, v *int) error {
	if err := json.Unmarshal(data, into); err != nil {
		return err
	}
	if *v != version {
		return fmt.Errorf("it is of version %d, this program knows %d: run a newer triggerd", *v, version)
	}
	return nil
}

// clip keeps a text within its bounds.
func clip(text string) string {
	if len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "")
	}
	return text
}
