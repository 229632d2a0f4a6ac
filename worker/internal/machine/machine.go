package machine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/triggerd/triggerd/shared/record"
)

// forgetWriters is how long, in stream time, a silent writer is remembered. No appender repeats a
// batch that long.
const forgetWriters Millis = 24 * hourMillis

// Machine applies messages in order. One goroutine.
type Machine struct {
	partition int
	head      Head
	store     Store
	judge     judgement // nil while not configured
	err       error     // once halted, for ever

	// The message that is being applied.
	msg    Message
	batch  record.Batch
	hour   int64
	emit   func(*Event)
	result Result
	outs   outcomes

	// Memory that is used again for every record.
	rec       record.Record
	in        input
	fx        effects
	ids       []byte                             // account and user of a redirect that fires
	applyLine func(index int, line []byte) error // m.applyRecord, bound once
	copyLine  func(index int, line []byte) error // m.skipRecord, bound once
	original  uint64                             // sequence of the batch of which this is a late copy; 0 = not known
}

// New continues from head over st. partition only names ids and events. A head of a machine
// version that is not known is an error of the first Apply.
func New(partition int, head Head, st Store) *Machine {
	m := &Machine{partition: partition, head: head.Clone(), store: st}
	if m.head.Writers == nil {
		m.head.Writers = make(map[string]Writer)
	}
	m.applyLine, m.copyLine = m.applyRecord, m.skipRecord
	if head.Configured {
		m.err = m.configure(head.Limits)
	}
	return m
}

// Head is the machine's head; a deep copy (it may be stored while the machine goes on).
func (m *Machine) Head() Head { return m.head.Clone() }

// Applied is Head().Applied without the copy.
func (m *Machine) Applied() uint64 { return m.head.Applied }

// StreamTime is Head().StreamTime without the copy.
func (m *Machine) StreamTime() Millis { return m.head.StreamTime }

// Events is Head().Events without the copy.
func (m *Machine) Events() uint64 { return m.head.Events }

// Pending is Head().Pending, the delayed redirects that wait, without the copy.
func (m *Machine) Pending() uint64 { return m.head.Pending }

// Limits is Head().Limits without the copy.
func (m *Machine) Limits() record.Limits { return m.head.Limits }

// Keys is Head().KeyCount() and Head().Limits.MaxKeys without the copy.
func (m *Machine) Keys() (count uint64, most int64) { return m.head.KeyCount(), m.head.Limits.MaxKeys }

// Remembers says whether k, which was found in the Store, would still count if a message carried stream time to now.
func (m *Machine) Remembers(k Key, now Millis) bool {
	return m.head.remembers(k, max(now, m.head.StreamTime))
}

// KeysFull says whether there would be no room for another idempotency key if a message carried stream time to now.
func (m *Machine) KeysFull(now Millis) bool { return m.head.keysFull(max(now, m.head.StreamTime)) }

// Users is Head().Users without the copy.
func (m *Machine) Users() uint64 { return m.head.Users }

// Apply applies the next message (Seq must be greater than Head().Applied; contiguity is the caller's check)
// and hands each event, in order, to emit; an event is valid only during that call. An error wraps
// ErrHalt; nothing of the message may then be kept, and every later call returns the same error.
func (m *Machine) Apply(msg Message, emit func(*Event)) (Result, error) {
	if m.err != nil {
		return Result{}, m.err
	}
	m.msg, m.emit, m.result = msg, emit, Result{}
	if err := m.apply(); err != nil {
		m.err = fmt.Errorf("apply message %d: %w", msg.Seq, err)
		return Result{}, m.err
	}
	m.head.Applied = msg.Seq
	m.msg, m.emit, m.batch = Message{}, nil, record.Batch{} // the payload is the caller's again
	return m.result, nil
}

// apply applies m.msg in the order that the package comment promises.
func (m *Machine) apply() error {
	if m.msg.Seq <= m.head.Applied {
		return haltf("message is not after %d, the last one applied", m.head.Applied)
	}
	batch, err := record.ParseBatch(m.msg.Header, m.msg.Payload)
	if errors.Is(err, record.ErrMalformed) {
		return m.buryBatch()
	}
	if err != nil {
		return halt("read batch", err)
	}
	m.batch = batch
	m.result.Records, m.result.ClockSkew = batch.Count, m.msg.Time-batch.Time
	late, err := m.enter()
	if err != nil {
		return err
	}
	if err := m.fireDue(); err != nil {
		return err
	}
	line := m.applyLine
	if late {
		line = m.copyLine
	}
	if err := m.batch.Lines(line); err != nil {
		return err
	}
	m.finishMessage(late)
	return nil
}

// enter moves stream time to the message and keeps house if an hour has begun. It says whether the batch is a late
// copy; that is asked before writers are forgotten, and the writer is noted before as well.
func (m *Machine) enter() (late bool, err error) {
	before := HourOf(m.head.StreamTime)
	m.head.StreamTime = max(m.head.StreamTime, min(m.msg.Time, m.batch.Time))
	m.hour = HourOf(m.head.StreamTime)
	if late, err = m.checkCopy(); err != nil {
		return false, err
	}
	if m.hour > before {
		m.keepHouse()
	}
	return late, nil
}

// checkCopy compares the batch's number with the highest of its writer, and notes a higher one. A batch that is
// not higher was applied already, or it was given up by its writer and must not overtake what came after.
func (m *Machine) checkCopy() (late bool, err error) {
	if m.batch.Number == 0 {
		return false, nil
	}
	w, known := m.head.Writers[m.batch.Writer]
	if known && m.batch.Number <= w.Number {
		m.result.SkippedBatch = true
		w.Seen = m.head.StreamTime // a writer that repeats itself for days must not be forgotten meanwhile
		m.head.Writers[m.batch.Writer] = w
		m.original, _, err = m.store.Batch(m.batch.Writer, m.batch.Number)
		if err != nil {
			return true, halt("read batch number", err)
		}
		return true, nil
	}
	name := m.batch.Writer
	if !known {
		name = strings.Clone(name)
	}
	m.head.Writers[name] = Writer{Number: m.batch.Number, Seen: m.head.StreamTime}
	return false, nil
}

// keepHouse drops the hours whose outcomes nobody may ask for any more, and those of keys that are known no more, and forgets silent writers.
func (m *Machine) keepHouse() {
	kept := max(0, m.head.Limits.OutcomesKeep+hourMillis-1) / hourMillis
	if m.head.Configured {
		m.store.DropHours(m.hour - kept)
		m.dropKeys()
	}
	for name, w := range m.head.Writers {
		if m.head.StreamTime-w.Seen > forgetWriters {
			delete(m.head.Writers, name)
		}
	}
}

// finishMessage stores what is kept by message rather than by record.
func (m *Machine) finishMessage(late bool) {
	if outs := m.outs.take(); len(outs) > 0 {
		m.store.PutOutcomes(m.hour, m.msg.Seq, outs)
	}
	if m.batch.Number != 0 && !late {
		m.store.PutBatch(m.hour, m.batch.Writer, m.batch.Number, m.msg.Seq)
	}
}

// configure takes over limits, and the judgement of their version.
func (m *Machine) configure(l record.Limits) error {
	judge, ok := judgementOf(l.Machine)
	if !ok {
		return haltf("the log asks for machine version %d, this program knows up to %d: run a newer triggerd", l.Machine, Version)
	}
	m.judge, m.head.Limits, m.head.Configured = judge, l, true
	return nil
}

// halt says what could not be done and wraps ErrHalt beside the cause.
func halt(doing string, cause error) error { return fmt.Errorf("%w: %s: %w", ErrHalt, doing, cause) }

// haltf is a halt without a cause of its own.
func haltf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrHalt}, args...)...)
}
