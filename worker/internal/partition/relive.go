package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/triggerd/triggerd/worker/internal/store"
)

// errTrimmed: the log was trimmed beyond what is applied here: others went on, made snapshots, and need it no more.
var errTrimmed = errors.New("the log was trimmed beyond what is applied here")

// lives goes through lives until one ends for good. A life ends early, and another one begins, when the file turns out to be damaged: it is set aside
// and made anew; and when the log was trimmed meanwhile: a snapshot takes the file's place.
func (p *Partition) lives(ctx context.Context) error {
	var aside []time.Time
	pause := backoff{min: minPause, max: maxRestorePause}
	for {
		a := newActor(p)
		err := a.live(ctx)
		a.shut()
		err = p.examined(ctx, err)
		switch reason := unfit(err); {
		case reason != "":
			aside = recent(append(aside, p.deps.Now()), p.deps.Now())
			if len(aside) > maxAside {
				return p.halt(fmt.Sprintf("the partition's file was found unusable %d times within %s", len(aside), asideWindow),
					"check this machine's disk and memory, and better run this worker elsewhere; what was set aside lies beside the file"+thenResume, err)
			}
			if err := p.setAside(reason, err); err != nil {
				return err
			}
		case errors.Is(err, errTrimmed):
			p.log.Warn("partition starts over", "cause", err)
			pause.wait(ctx)
		default:
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		p.enter(Opening, nil)
	}
}

// examined adds to a halt that the file is damaged, if it is. A damaged key makes an entry disappear without being read, so that what follows
// from it may look like somebody else's fault.
func (p *Partition) examined(ctx context.Context, err error) error {
	if !errors.As(err, new(*HaltError)) || unfit(err) != "" {
		return err
	}
	st, openErr := store.OpenReadOnly(p.cfg.Path, store.Options{})
	if openErr != nil { // what that amounts to was judged by opening it
		return err
	}
	found := errors.Join(st.VerifyWith(ctx.Err), st.Close())
	if !errors.Is(found, store.ErrCorrupt) {
		return err
	}
	return errors.Join(err, found)
}

// How often a file may be set aside before the machine is suspected.
const (
	maxAside    = 3
	asideWindow = time.Hour
)

// recent leaves out what is older than the window.
func recent(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) > asideWindow {
		times = times[1:]
	}
	return times
}

// Reasons to set a file aside: they are in its name, and in a label.
const (
	asideCorrupt = "corrupt"
	asideForeign = "foreign"
)

// unfit is the reason for which a file cannot be gone on with; empty: the error is none of the file's.
func unfit(err error) string {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return asideCorrupt
	case errors.Is(err, store.ErrForeign):
		return asideForeign
	}
	return ""
}

// setAside gives the partition's file another name. It is never deleted: it may be all that is left of something.
func (p *Partition) setAside(reason string, cause error) error {
	name := fmt.Sprintf("%s.%s.%s", p.cfg.Path, p.deps.Now().UTC().Format("20060102T150405.000"), reason)
	for n := 2; ; n++ {
		there, err := store.Exists(name)
		if err == nil && !there {
			break
		}
		name = fmt.Sprintf("%s.%s-%d.%s", p.cfg.Path, p.deps.Now().UTC().Format("20060102T150405.000"), n, reason)
	}
	if err := os.Rename(p.cfg.Path, name); err != nil {
		return p.halt("the partition's file is unusable and cannot be set aside", "move it out of its directory by hand"+thenResume, errors.Join(cause, err))
	}
	count, bytes := p.asides()
	p.deps.Metrics.setAside.WithLabelValues(p.label(), reason).Inc()
	p.log.Error("partition's file was set aside, and is made anew", "file", name, "reason", reason, "cause", found(cause),
		"set_aside_files", count, "set_aside_bytes", bytes, "do", asideDo)
	return nil
}

// asideDo is for whoever reads that a file was set aside.
const asideDo = "nothing for this partition, which comes from a snapshot or the log; look at this machine's disk; delete the file that was set aside when its room is needed"

// found is what was the matter with the file. Where the partition would have halted but for that, it does not, and what was to be done then is not to be done.
func found(cause error) error {
	var halt *HaltError
	if errors.As(cause, &halt) && halt.Err != nil {
		return halt.Err
	}
	return cause
}

// asides counts what was set aside here so far. Nobody but an operator removes it.
func (p *Partition) asides() (count int, bytes int64) {
	for _, reason := range []string{asideCorrupt, asideForeign} {
		names, _ := filepath.Glob(p.cfg.Path + ".*." + reason) // only a bad pattern is an error
		for _, name := range names {
			if info, err := os.Stat(name); err == nil {
				count, bytes = count+1, bytes+info.Size()
			}
		}
	}
	return count, bytes
}

// suspect ends this life if an error says that the file is damaged. For those who have nowhere to return it to. Safe for concurrent use.
func (a *actor) suspect(err error) {
	if unfit(err) == "" && !errors.Is(err, errCrash) {
		return
	}
	select {
	case a.suspicion <- err:
	default: // one is enough
	}
}
