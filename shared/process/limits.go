package process

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// Defaults of the limits that are part of every log.
const (
	DefaultMachine      = 1
	DefaultMaxUserBytes = 512 << 10
	DefaultMaxPending   = 1000
	DefaultOutcomesKeep = time.Hour
	DefaultMaxKeys      = 1_000_000
	DefaultKeysKeep     = 24 * time.Hour
)

// RegisterLimits adds the flags of the limits that are part of every log, and sets the defaults.
func RegisterLimits(fs *flag.FlagSet, l *record.Limits) {
	const once = " (new deployments only, afterwards by `worker configure`)"
	l.Machine = DefaultMachine
	size(fs, &l.MaxUserBytes, "max-user-bytes", DefaultMaxUserBytes, "`size` of one user's variables"+once)
	fs.IntVar(&l.MaxPending, "max-pending", DefaultMaxPending, "delayed `redirects` that one user may have outstanding"+once)
	l.OutcomesKeep = DefaultOutcomesKeep.Milliseconds()
	fs.Var((*milliseconds)(&l.OutcomesKeep), "outcomes-keep", "how `long` what became of a trigger can be asked for"+once)
	fs.Int64Var(&l.MaxKeys, "max-keys", DefaultMaxKeys, "idempotency `keys` that a partition remembers at once; when it is full, new ones are refused; 0 takes none"+once)
	l.KeysKeep = DefaultKeysKeep.Milliseconds()
	fs.Var((*milliseconds)(&l.KeysKeep), "keys-keep", "how `long` an idempotency key is remembered"+once)
}

// ValidateLimits joins all faults.
func ValidateLimits(l record.Limits) error {
	var faults []error
	positive := func(name string, v int64) {
		if v < 1 {
			faults = append(faults, fmt.Errorf("-%s is %d, under 1", name, v))
		}
	}
	positive("max-user-bytes", l.MaxUserBytes)
	positive("max-pending", int64(l.MaxPending))
	positive("outcomes-keep", l.OutcomesKeep)
	positive("keys-keep", l.KeysKeep)
	if l.MaxKeys < 0 || l.MaxKeys > math.MaxInt32 {
		faults = append(faults, fmt.Errorf("-max-keys is %d, not within 0 and %d", l.MaxKeys, math.MaxInt32))
	}
	return errors.Join(faults...)
}

// milliseconds is a duration as a setting, kept as the log has it. It is a flag.Value.
type milliseconds int64

func (m *milliseconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("not a duration like 1h or 90s")
	}
	if d%time.Millisecond != 0 {
		return fmt.Errorf("finer than a millisecond")
	}
	*m = milliseconds(d.Milliseconds())
	return nil
}

func (m *milliseconds) String() string {
	if m == nil {
		return "0s"
	}
	return (time.Duration(*m) * time.Millisecond).String()
}
