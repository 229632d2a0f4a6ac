package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/partition"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// look looks into a file that nobody has open.
func (i *inspection) look(c operator.Console) error {
	st, err := store.OpenReadOnly(i.file, store.Options{})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("%w: a worker that runs has it open: ask that one instead, without -file", err)
	}
	if err != nil {
		return damaged(err)
	}
	defer st.Close()
	switch {
	case i.user != "":
		return i.lookForUser(st, c)
	case i.trigger != "":
		return i.lookForOutcome(st, c)
	}
	if err := st.Verify(); err != nil {
		return damaged(fmt.Errorf("%s: %w", i.file, err))
	}
	cp, ok := st.Last()
	if !ok {
		return show(c.Stdout, map[string]any{"file": i.file, "empty": true})
	}
	page := map[string]any{"file": i.file, "partition": cp.Partition, "log_id": cp.LogID, "seq": cp.Seq,
		"time": time.Unix(0, cp.Time).UTC().Format(time.RFC3339Nano), "hash": fmt.Sprintf("%016x", cp.Hash), "emitted_seq": cp.EmittedSeq,
		"events": cp.Head.Events, "users": cp.Head.Users, "pending_redirects": cp.Head.Pending, "stream_time": cp.Head.StreamTime,
		"limits": map[string]any{"machine": cp.Head.Limits.Machine, "max_user_bytes": cp.Head.Limits.MaxUserBytes, "max_pending": cp.Head.Limits.MaxPending,
			"outcomes_keep_seconds": millis(cp.Head.Limits.OutcomesKeep), "max_keys": cp.Head.Limits.MaxKeys, "keys_keep_seconds": millis(cp.Head.Limits.KeysKeep)},
		"idempotency_keys": cp.Head.KeyCount(), "writers": len(cp.Head.Writers)}
	if i.digest {
		digest, err := st.Digest(cp.Head)
		if err != nil {
			return err
		}
		page["digest"] = fmt.Sprintf("%016x", digest)
	}
	return show(c.Stdout, page)
}

// damaged adds what becomes of a file that is.
func damaged(err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w; to do: nothing but to look at that disk: a worker that finds it like this sets it aside, beside its place, and makes it anew from a snapshot or the log", err)
	}
	return err
}

func (i *inspection) lookForUser(st *store.Store, c operator.Console) error {
	cp, _ := st.Last()
	u, err := st.User([]byte(i.account), []byte(i.user))
	if err != nil {
		return err
	}
	if u == nil {
		return fmt.Errorf("user %q of account %q is not in the file, which is as of message %d of partition %d", i.user, i.account, cp.Seq, cp.Partition)
	}
	return show(c.Stdout, map[string]any{"partition": cp.Partition, "applied": cp.Seq, "user": partition.ViewUser(cp.Partition, u)})
}

func (i *inspection) lookForOutcome(st *store.Store, c operator.Console) error {
	id, err := record.ParseID(i.trigger)
	if err != nil {
		return fmt.Errorf("%w: -trigger: a file is looked up by trigger id: %w", operator.ErrUsage, err)
	}
	cp, _ := st.Last()
	if id.Partition != cp.Partition {
		return fmt.Errorf("trigger %s is not of partition %d, whose file this is", i.trigger, cp.Partition)
	}
	out, ok, err := st.Outcome(id.Position)
	if err != nil {
		return err
	}
	if !ok || out.Account != i.account {
		return fmt.Errorf("there is no outcome of %s in the file, which is as of message %d: it is not applied yet, or no longer kept", i.trigger, cp.Seq)
	}
	return show(c.Stdout, map[string]any{"partition": cp.Partition, "applied": cp.Seq, "outcome": partition.ViewOutcome(cp.Partition, out)})
}
