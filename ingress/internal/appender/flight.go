package appender

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/tracing"
)

// flight is a batch from the moment it is packed until its fate is known. The partition's goroutine owns it.
type flight struct {
	number    uint64
	calls     []*call           // nil: answered already
	traces    []tracing.Context // of the records whose spans are kept; nobody else has the list
	payload   []byte
	version   int // of the format: the lowest that can say what is in payload
	msg       nats.Msg
	since     time.Time // first sent
	attempts  int
	repeatAt  time.Time
	wait      time.Duration // between the last attempt and repeatAt
	lost      uint64        // the appender's count of lost connections at the last attempt
	unsure    bool          // an attempt may have reached the log although nobody said so
	stillborn error         // why the client took nothing of the first attempt
}

// add copies c's line into the batch; its memory is the caller's again.
func (f *flight) add(c *call) {
	c.state, c.number, c.index = sent, f.number, uint32(len(f.calls))
	if len(f.calls) > 0 {
		f.payload = append(f.payload, '\n')
	}
	f.payload = append(f.payload, c.line...)
	f.version = max(f.version, record.TriggerVersion(c.line))
	f.calls = append(f.calls, c)
	if c.trace.Valid() {
		f.traces = append(f.traces, c.trace)
	}
}

// verdict is what an answer says of an attempt.
type verdict uint8

const (
	unclear verdict = iota // nothing can be concluded
	stored
	refused // this attempt was not stored
)

// errNoResponders: the server knows nobody who would take the message, so nobody has taken it.
var errNoResponders = errors.New("no stream takes the record: its leader is away")

// judge reads an answer of the stream.
func judge(msg *nats.Msg) (verdict, uint64, error) {
	if len(msg.Data) == 0 {
		if msg.Header.Get("Status") == "503" {
			return refused, 0, errNoResponders
		}
		return unclear, 0, nil
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	switch err := json.Unmarshal(msg.Data, &ack); {
	case err != nil:
		return unclear, 0, nil
	case ack.Error != nil && proves(ack.Error) == unclear:
		return unclear, 0, nil
	case ack.Error != nil && ack.Error.ErrorCode == codeFull:
		return refused, 0, errFull
	case ack.Error != nil:
		return refused, 0, fmt.Errorf("log refuses: %s (%d)", ack.Error.Description, ack.Error.ErrorCode)
	case ack.Sequence == 0:
		return unclear, 0, nil
	}
	return stored, ack.Sequence, nil
}

// Answers of JetStream that say no, and not that nothing was stored.
const (
	// codeDuplicateInFlight is a cluster's answer to a copy of a message that is just being stored.
	codeDuplicateInFlight = 10158
	// codeStoreFailed says that the leader could not store the message. If it has no room nobody has; but of a leader that is about to stop the
	// message may be agreed on already, and be stored by the others.
	codeStoreFailed = 10077
)

// noRoom are the reasons of codeStoreFailed that are the log's own limits, which are the same on all its servers.
var noRoom = []string{"maximum bytes exceeded", "maximum messages exceeded", "message too large"}

// proves says what a refusal proves.
func proves(e *jetstream.APIError) verdict {
	switch {
	case e.ErrorCode == codeDuplicateInFlight:
		return unclear
	case e.ErrorCode == codeStoreFailed && !slices.Contains(noRoom, e.Description):
		return unclear
	}
	return refused
}

// codeFull is the answer of a log that has no room for the message, whichever of its bounds that is.
const codeFull = 10077

var errFull = errors.New("log is full, and drops nothing; to do: see in worker inspect whether its partition is served and has snapshots, which trim it, or " +
	"start one worker with a larger -triggers-max-bytes, which widens it at once")

// unsent are the errors of publishing that the client gives before it has taken anything of the message.
var unsent = []error{
	nats.ErrMaxPayload, nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrReconnectBufExceeded,
	nats.ErrHeadersNotSupported, nats.ErrInvalidConnection, nats.ErrBadSubject,
}

func neverSent(err error) bool {
	for _, e := range unsent {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// replySubject names an attempt, so that its answer can be told from those of others.
func replySubject(inbox string, number uint64, attempt int) string {
	var buf [96]byte
	b := append(buf[:0], inbox...)
	b = append(b, '.')
	b = strconv.AppendUint(b, number, 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(attempt), 10)
	return string(b)
}

// answeredNumber is the batch number in a subject made by replySubject, 0 if it is none.
func answeredNumber(inbox, subject string) uint64 {
	rest, ok := strings.CutPrefix(subject, inbox+".")
	if !ok {
		return 0
	}
	number, _, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
