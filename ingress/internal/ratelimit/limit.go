package ratelimit

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Bounds of a Limit.
const (
	MaxRate  = 1e9
	MaxBurst = 1_000_000_000
	// burstSeconds is how many seconds' worth of triggers may come at once where nobody says how many.
	burstSeconds = 2
)

// Limit is what an account may send over the whole deployment.
type Limit struct {
	Rate  float64 // triggers a second in the long run; 0 = no limit
	Burst int     // triggers at once; 0 = what two seconds bring, at least one
}

// Validate joins all faults.
func (l Limit) Validate() error {
	var faults []error
	if math.IsNaN(l.Rate) || l.Rate < 0 || l.Rate > MaxRate {
		faults = append(faults, fmt.Errorf("rate is %g, not within 0 and %g triggers a second", l.Rate, float64(MaxRate)))
	}
	if l.Burst < 0 || l.Burst > MaxBurst {
		faults = append(faults, fmt.Errorf("burst is %d, not within 0 and %d triggers", l.Burst, MaxBurst))
	}
	return errors.Join(faults...)
}

// off: the account may do what it likes.
func (l Limit) off() bool { return l.Rate == 0 }

// full is the limit with the burst that counts.
func (l Limit) full() Limit {
	if l.Burst == 0 {
		l.Burst = int(min(MaxBurst, max(1, math.Ceil(burstSeconds*l.Rate))))
	}
	return l
}

// window is the time in which Burst triggers come, in whole seconds, at least one.
func (l Limit) window() int64 {
	l = l.full()
	return seconds(time.Duration(min(float64(l.Burst)/l.Rate*float64(time.Second), maxWait)))
}

// maxWait bounds times that come of tiny rates, in nanoseconds: a day.
const maxWait = float64(24 * time.Hour)

// seconds rounds up, to at least one.
func seconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

func (l Limit) String() string {
	if l.off() {
		return "no limit"
	}
	return fmt.Sprintf("%s a second, %d at once", strconv.FormatFloat(l.Rate, 'g', -1, 64), l.full().Burst)
}

// valueVersion is the format of a key's value.
const valueVersion = 1

// value is a limit in the bucket. Who, Reason and At are for people.
type value struct {
	Version int       `json:"version"`
	Rate    float64   `json:"rate"`
	Burst   int       `json:"burst,omitempty"`
	Who     string    `json:"who,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
}

// parse reads a key's value.
func parse(data []byte) (v value, err error) {
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("limit is unreadable: %w", err)
	}
	if v.Version != valueVersion {
		return v, fmt.Errorf("limit is unreadable: unknown version %d", v.Version)
	}
	return v, v.limit().Validate()
}

func (v value) limit() Limit { return Limit{Rate: v.Rate, Burst: v.Burst} }
