package loadgen

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/triggerd/triggerd/shared/record"
)

// maxLine bounds a line of a ledger, in bytes.
const maxLine = 64 << 10

// ErrLedger: the file is no ledger, or was changed.
var ErrLedger = errors.New("not a ledger of loadgen, or a damaged one")

// kept is what a ledger file says.
type kept struct {
	*history
	ended  bool // has its last line
	torn   bool // ends within a line
	sha256 string
}

// readLedger goes through a ledger. each is called for every accepted trigger and repeat, in the order of the file, if it is not nil. A last line that
// has no end is left out: that of a process that was killed, or a full disk.
func readLedger(name string, each func(user int, number uint64, id record.ID)) (*kept, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	digest := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(file, digest), maxLine)
	k, n := &kept{}, 0
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			k.torn = len(line) > 0
			break
		}
		n++
		if err == nil {
			err = k.line(line[:len(line)-1], each)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s, line %d: %w", ErrLedger, name, n, err)
		}
	}
	if k.history == nil {
		return nil, fmt.Errorf("%w: %s is empty", ErrLedger, name)
	}
	for i := range k.users {
		k.users[i].abandon()
	}
	k.sha256 = hex.EncodeToString(digest.Sum(nil))
	return k, nil
}

var errLine = errors.New("cannot be understood")

// line replays one line.
func (k *kept) line(line []byte, each func(int, uint64, record.ID)) error {
	if len(line) < 2 || line[1] != ' ' || k.ended {
		return errLine
	}
	kind, rest := line[0], line[2:]
	switch {
	case k.history == nil:
		return k.begin(kind, rest)
	case kind == lineEnd:
		k.ended = true
		return json.Unmarshal(rest, new(Totals))
	}
	words := bytes.Split(rest, []byte(" "))
	if len(words) < 2 {
		return errLine
	}
	user, err := strconv.Atoi(string(words[0]))
	number, err2 := strconv.ParseUint(string(words[1]), 10, 64)
	if err != nil || err2 != nil || user < 0 || user >= len(k.users) {
		return errLine
	}
	return k.note(kind, user, number, words[2:], each)
}

func (k *kept) begin(kind byte, rest []byte) error {
	var h header
	if kind != lineHeader || json.Unmarshal(rest, &h) != nil || h.Users < 1 || h.Users > maxUsers {
		return errLine
	}
	if h.Version != LedgerVersion {
		return fmt.Errorf("version %d, not %d", h.Version, LedgerVersion)
	}
	k.history = newHistory(h)
	return nil
}

// wordsOf is how many words each kind of line has after the numbers.
func wordsOf(kind byte) (least, most int) {
	switch kind {
	case lineRegistered:
		return 0, 0
	case lineBegin:
		return 0, 1
	case lineAccepted, lineReplayed, lineRefused, lineLost:
		return 1, 1
	case lineDenied:
		return 2, 2
	case lineRepeated:
		return 3, 3
	case lineOdd:
		return 1, maxLine
	}
	return 1, 0
}

// note replays what happened to one trigger.
func (k *kept) note(kind byte, user int, number uint64, words [][]byte, each func(int, uint64, record.ID)) error {
	if least, most := wordsOf(kind); len(words) < least || len(words) > most {
		return errLine
	}
	p := &k.users[user]
	switch kind {
	case lineRegistered:
		p.registered = number
		return nil
	case lineBegin:
		p.begin(number)
		return nil
	case lineOdd:
		k.breach(user, breach{Answers, string(bytes.Join(words, []byte(" ")))})
		return nil
	case lineRepeated, lineDenied:
		return k.repeat(kind, user, number, words, each)
	}
	if p.current.number != number || p.current.open == 0 {
		return errors.New("an answer to what was not sent")
	}
	switch kind {
	case lineRefused:
		p.refuse()
		k.refused()
	case lineLost:
		receipt := string(words[0])
		if receipt == "-" {
			receipt = ""
		}
		p.lose(receipt)
	default:
		return k.answered(kind, user, number, words[0], each)
	}
	return nil
}

func (k *kept) answered(kind byte, user int, number uint64, word []byte, each func(int, uint64, record.ID)) error {
	id, err := record.ParseID(string(word))
	if err != nil {
		return err
	}
	k.accepted(user, id, kind == lineReplayed)
	if each != nil {
		each(user, number, id)
	}
	return nil
}

func (k *kept) repeat(kind byte, user int, number uint64, words [][]byte, each func(int, uint64, record.ID)) error {
	first, err := record.ParseID(string(words[0]))
	if err != nil {
		return err
	}
	if kind == lineDenied {
		k.denied(user, first, string(words[1]))
		return nil
	}
	id, err := record.ParseID(string(words[1]))
	if err != nil {
		return err
	}
	k.repeated(user, first, id, string(words[2]) == "1")
	if each != nil {
		each(user, number, id)
	}
	return nil
}
