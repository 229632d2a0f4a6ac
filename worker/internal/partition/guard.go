package partition

import (
	"fmt"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Guard knows which messages have ended processes. Its methods are called from the partition's goroutine and must not block.
type Guard interface {
	// Before is called before the machine sees a message. An error says why it must not: the partition then emits and keeps everything before
	// that message, and halts.
	Before(seq uint64) error
	// After is called when the machine is done with the message, in whichever way. It is not called if the process has ended.
	After(seq uint64)
}

// judge lets the machine apply a message, under the eyes of the guard.
func (a *actor) judge(msg machine.Message) (machine.Result, error) {
	g := a.deps.Guard
	if g != nil {
		if err := g.Before(msg.Seq); err != nil {
			return machine.Result{}, a.quarantine(msg.Seq, err)
		}
	}
	res, err := a.machine.Apply(msg, a.emit)
	if g != nil { // not deferred: a panic that ends the process is what the guard is there for
		g.After(msg.Seq)
	}
	if err != nil {
		return machine.Result{}, a.halt("a message could not be applied", "nothing of the message was kept or emitted: put right what the cause says (a file that cannot be read, or a build that does not know the record)"+thenResume, err)
	}
	return res, nil
}

// quarantine halts before a message. What came before it is emitted and kept first: it may be a while until somebody has looked at it.
func (a *actor) quarantine(seq uint64, cause error) error {
	a.enter(Draining, nil)
	if err := a.drain(); err != nil {
		return err
	}
	p := a.cfg.Partition
	return &HaltError{Partition: p, Err: cause, What: fmt.Sprintf("message %d is in quarantine and was not applied", seq),
		Kept: fmt.Sprintf("everything before message %d is applied; what is accepted after it waits in the log", seq),
		Do: fmt.Sprintf("look at message %d of TRIGGERS-%d and at the files crash-* beside the partitions' files, run a build that can apply it, "+
			"then: worker resume -partition %d", seq, p, p)}
}
