package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

const (
	auditParallel = 32
	auditTimeout  = 10 * time.Minute // for all of it, so that a server that never catches up is told
	applyWait     = "30s"            // what one question may wait
	auditPause    = 100 * time.Millisecond
)

// audit is what the comparison with the state found.
type audit struct {
	done     bool
	caughtUp time.Duration // from the end of the load until all was applied
	users    int
	stored   int // of the unknown ones
	lost     int // unknown ones without a receipt that turned out to be stored
	broken   []string
}

// Audit waits until everything is applied and holds every user's state against what was promised. An error means that
// it could not be asked.
func (r *Session) Audit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	begun := time.Now()
	if err := r.resolveAll(ctx); err != nil {
		return fmt.Errorf("resolve receipts: %w", err)
	}
	if err := r.awaitApplied(ctx); err != nil {
		return fmt.Errorf("wait until all is applied: %w", err)
	}
	r.audit.caughtUp = time.Since(begun)
	if err := r.checkAll(ctx); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	r.audit.done = true
	return nil
}

// fate is what the server says of a trigger.
type fate struct {
	TriggerID string `json:"trigger_id"`
	Status    string `json:"status"`
}

// ask repeats until the trigger's fate is final. Absent means that there is no such trigger.
func (r *Session) ask(ctx context.Context, id string) (f fate, absent bool, err error) {
	for {
		err := r.call(ctx, http.MethodGet, "/v1/triggers/"+id+"?wait="+applyWait, "", nil, &f)
		var status *statusError
		switch {
		case err == nil && f.Status != "accepted":
			return f, false, nil
		case errors.As(err, &status) && status.status == http.StatusNotFound:
			return f, true, nil
		case err != nil && !errors.As(err, &status):
			return f, false, err
		}
		if !pause(ctx, auditPause) {
			return f, false, errors.Join(ctx.Err(), err)
		}
	}
}

// resolveAll asks for every unknown outcome that has a receipt.
func (r *Session) resolveAll(ctx context.Context) error {
	for n := range r.users {
		l := &r.users[n]
		if l.unknown == nil || l.unknown.receipt == "" {
			continue
		}
		f, absent, err := r.ask(ctx, l.unknown.receipt)
		if err != nil {
			return err
		}
		id, parseErr := record.ParseID(f.TriggerID)
		stored := !absent && f.Status != "rejected"
		if stored && parseErr != nil {
			return fmt.Errorf("receipt %s: %w", l.unknown.receipt, parseErr)
		}
		if stored {
			r.audit.stored++
		}
		if text := l.resolve(stored, id); text != "" {
			r.breach(n, text)
		}
	}
	return nil
}

// awaitApplied waits for the last accepted trigger of each partition: whatever was accepted before it is applied then.
func (r *Session) awaitApplied(ctx context.Context) error {
	last := map[int]record.ID{}
	for i := range r.users {
		if n := len(r.users[i].recent); n > 0 {
			id := r.users[i].recent[n-1]
			if have, ok := last[id.Partition]; !ok || have.Position.Compare(id.Position) < 0 {
				last[id.Partition] = id
			}
		}
	}
	for _, id := range last {
		f, absent, err := r.ask(ctx, id.String())
		if err != nil {
			return err
		}
		if absent || f.Status == "rejected" || f.Status == "duplicate" {
			r.audit.broken = append(r.audit.broken, fmt.Sprintf("%s was accepted, and is %q (absent: %t)", id, f.Status, absent))
		}
	}
	return nil
}

func (r *Session) checkAll(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for worker := range auditParallel {
		wg.Go(func() {
			for n := worker; n < len(r.users); n += auditParallel {
				text, lost, err := r.checkUser(ctx, n)
				mu.Lock()
				r.audit.users++
				if lost {
					r.audit.lost++
				}
				if text != "" {
					r.breach(n, text)
				}
				failed = errors.Join(failed, err)
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}

func (r *Session) checkUser(ctx context.Context, n int) (broken string, lost bool, err error) {
	var state userState
	err = r.call(ctx, http.MethodGet, "/v1/users/"+userName(r.name, n), "", nil, &state)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		return "was imported, and does not exist", false, nil
	}
	if err != nil {
		return "", false, err
	}
	broken, lost = r.users[n].check(state)
	return broken, lost, nil
}

func (r *Session) breach(user int, text string) {
	r.audit.broken = append(r.audit.broken, userName(r.name, user)+": "+text)
}
