package loadgen

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// LedgerVersion is that of the format, which deploy/LOADGEN.md describes.
const LedgerVersion = 1

// What a line of a ledger says, by its first byte. All but the first and last lines go on with a user's number and a trigger's.
const (
	lineHeader     = '#' // header, JSON
	lineRegistered = 'u' // user, and how often it is registered, if more than once
	lineBegin      = '+' // is about to be sent
	lineAccepted   = '=' // id
	lineReplayed   = '~' // id, marked as the answer of the first one
	lineRefused    = '-' // why; nothing is stored
	lineLost       = '?' // receipt, or "-": the outcome is not known
	lineRepeated   = 'r' // id, id of a repeat that was sent later, 1 if it was marked as a replay
	lineDenied     = 'x' // id, why a repeat was refused although it can be answered
	lineOdd        = '!' // what is wrong with an answer
	lineEnd        = '.' // totals, JSON
)

// header is the first line of a ledger.
type header struct {
	Version int       `json:"ledger"`
	Run     string    `json:"run"`
	URL     string    `json:"url"`
	Users   int       `json:"users"`
	Began   time.Time `json:"began"`
}

// Totals count what was promised.
type Totals struct {
	Accepted uint64 `json:"accepted"` // triggers
	Repeats  uint64 `json:"repeats"`  // requests that were answered with a first trigger's id, or accepted again and to be duplicates
	Refused  uint64 `json:"refused"`  // requests; nothing of them is stored
	Unknown  uint64 `json:"unknown"`  // triggers whose outcome nobody knows
}

// ledger is the file that keeps what was promised. Lines are appended before a request is sent, and as soon as possible after its answer, each time
// with one write to the system: what is in there survives the end of this process, however it comes. For any number of goroutines. A nil one keeps nothing.
type ledger struct {
	file   *os.File
	failed atomic.Pointer[error]
	stop   func() // called when a write fails: what cannot be written down must not be sent
}

// createLedger refuses a file that exists: it is somebody's proof.
func createLedger(name string, h header) (*ledger, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	l := &ledger{file: file, stop: func() {}}
	h.Version = LedgerVersion
	if !l.write(appendJSON(nil, lineHeader, h)) {
		return nil, errors.Join(l.err(), file.Close())
	}
	return l, nil
}

// write appends whole lines; false if they are not kept.
func (l *ledger) write(lines []byte) bool {
	if l == nil || len(lines) == 0 {
		return true
	}
	if _, err := l.file.Write(lines); err != nil {
		fault := fmt.Errorf("write ledger: %w", err)
		l.failed.CompareAndSwap(nil, &fault)
		l.stop()
		return false
	}
	return l.err() == nil
}

// err is that of the first write that failed.
func (l *ledger) err() error {
	if l == nil {
		return nil
	}
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// close writes the end. Without that line a ledger is one of a run that was cut off.
func (l *ledger) close(t Totals) error {
	if l == nil {
		return nil
	}
	l.write(appendJSON(nil, lineEnd, t))
	return errors.Join(l.err(), l.file.Sync(), l.file.Close())
}

func appendJSON(b []byte, kind byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types
	}
	return append(append(append(b, kind, ' '), text...), '\n')
}

// appendLine begins a line; its rest is to be added.
func appendLine(b []byte, kind byte, user int, number uint64) []byte {
	b = strconv.AppendInt(append(b, kind, ' '), int64(user), 10)
	return strconv.AppendUint(append(b, ' '), number, 10)
}

// appendWord adds a word; spaces and what does not print would break the format.
func appendWord(b []byte, word string) []byte {
	b = append(b, ' ')
	if word == "" {
		return append(b, '-')
	}
	for i := range len(word) {
		if c := word[i]; c > ' ' && c < 0x7f {
			b = append(b, c)
		} else {
			b = append(b, '_')
		}
	}
	return b
}

func appendID(b []byte, id record.ID) []byte { return id.AppendTo(append(b, ' ')) }
