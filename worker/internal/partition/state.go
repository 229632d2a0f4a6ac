package partition

import (
	"sync"
	"time"

	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// State is where a partition is in its life.
type State int32

// The states in life order.
const (
	Opening   State = iota // before and while the file is opened
	Checking               // is the log the one whose state the file holds?
	Restoring              // making the file of a snapshot
	Replaying              // applying what was in the log at the start
	Following              // caught up once, standing by: applying what another worker emits and answers
	Serving                // caught up once; answering
	Draining               // emitting the rest, making the last checkpoint
	Stopped                // drained, or aborted
	Halted                 // will not go on; see the error
	stateCount
)

var stateWords = [...]string{"opening", "checking", "restoring", "replaying", "following", "serving", "draining", "stopped", "halted"}

// String is the word that logs, metrics and the admin page use.
func (s State) String() string { return stateWords[s] }

// maxInHand bounds Config.MessagesInHand; view remembers the times of that many messages and two more.
const maxInHand = 62

// facts are what others may know of a running partition.
type facts struct {
	state State
	since time.Time // when the state was entered
	cause error     // why halted

	applied uint64
	last    uint64 // last sequence of the log, as far as known
	events  uint64 // last number derived
	emitted uint64 // last number known to be in EVENTS-p
	pending uint64 // redirects that are due later
	keys    uint64 // idempotency keys
	keysMax int64
	batch   float64 // records in a message, lately
	ledger  machine.Ledger

	logBytes, logMax int64 // of the log: what it holds, and what it may; 0: not known yet
	skew             int64 // the server's clock minus the writer's at the last message, milliseconds

	checkpointSeq uint64
	checkpointAt  time.Time // until when the checkpoint holds everything; zero = everything is in it

	base      uint64         // the checkpoint at which this life began
	snapshots int            // that are kept, as far as known
	snapshot  snapshot.Entry // the newest of them
	trimmed   uint64         // the first sequence that trimming left in the log; 0: none was done here

	sourceErr, emitErr, commitErr error // what is being tried again
	digestErr                     error // the owner and this standby differ

	next int64 // time of the oldest unapplied message in Unix milliseconds; 0 = none, or not known; filled in by view.read
}

// view holds the facts for the scrape of metrics, the readiness check and the admin page. They stay right while the actor is stuck.
type view struct {
	mu sync.Mutex
	facts
	times [maxInHand + 2]stamp // of the messages that follow the applied one, by sequence modulo length
}

// stamp is when the server stored a message.
type stamp struct {
	seq  uint64
	time int64 // Unix milliseconds
}

func (v *view) update(f func(*facts)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.facts)
}

func (v *view) read() facts {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.facts
	f.next = v.nextTime()
	return f
}

// seen notes that a message is in the log.
func (v *view) seen(seq uint64, millis int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.times[seq%uint64(len(v.times))] = stamp{seq: seq, time: millis}
	v.last = max(v.last, seq)
}

// nextTime is the time of the message after the applied one; 0 = not known. The lock is held.
func (v *view) nextTime() int64 {
	if s := v.times[(v.applied+1)%uint64(len(v.times))]; s.seq == v.applied+1 {
		return s.time
	}
	return 0
}

// lag is how many messages are not applied, as far as known.
func (f *facts) lag() uint64 {
	if f.last <= f.applied {
		return 0
	}
	return f.last - f.applied
}

// lagRecords estimates how many records are not applied from how many a message carried lately. It is exact at 0.
func (f *facts) lagRecords() float64 { return float64(f.lag()) * max(f.batch, 1) }

// oldest is the age of the oldest unapplied message; 0 when caught up.
func (f *facts) oldest(now time.Time) time.Duration {
	if f.lag() == 0 || f.next == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(f.next)))
}

// checkpointAge is for how long something applied is not in a checkpoint; 0 when everything is.
func (f *facts) checkpointAge(now time.Time) time.Duration {
	if f.checkpointAt.IsZero() {
		return 0
	}
	return max(0, now.Sub(f.checkpointAt))
}
