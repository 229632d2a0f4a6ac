package trail

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	crumbsFile = "breadcrumbs"
	crashFile  = "crash"
)

// The file of breadcrumbs: a header and a slot of 8 bytes, little-endian, for each partition.
const (
	magic      = "triggerd breadcrumbs 1\n"
	runAt      = 32
	maxRun     = 24
	headerSize = 64
	slotSize   = 8
)

// Left is what a former run was doing when it ended.
type Left struct {
	Partition int
	Seq       uint64
	Run       string // the former run's name
	Crashed   bool   // by a fatal error of its own
	Text      string // what that said first; empty if there is nothing
	At        time.Time
}

// Trail is one process's trail in a directory.
type Trail struct {
	dir    string
	crumbs *crumbs
	left   []Left
	crash  string // what the former run said when it crashed, first line
}

// Open reads what the former run left and points the runtime's crash output to the directory. Nobody else may have the directory.
func Open(dir string, partitions int) (*Trail, error) {
	t := &Trail{dir: dir}
	text, at, err := readCrash(filepath.Join(dir, crashFile))
	if err != nil {
		return nil, fmt.Errorf("read crash of the former run: %w", err)
	}
	t.crash = text
	if t.crumbs, err = openCrumbs(filepath.Join(dir, crumbsFile), headerSize+slotSize*partitions); err != nil {
		return nil, fmt.Errorf("open breadcrumbs: %w", err)
	}
	if run, ok := t.crumbs.run(); ok {
		for p := range partitions {
			if seq := t.crumbs.get(p); seq != 0 {
				t.left = append(t.left, Left{Partition: p, Seq: seq, Run: run, Crashed: text != "", Text: text, At: at})
			}
		}
	}
	if err := t.catch(); err != nil {
		return nil, errors.Join(err, t.crumbs.close())
	}
	return t, nil
}

// Left is what the former run was applying when it ended.
func (t *Trail) Left() []Left { return t.left }

// Crash is the first line of what the former run said when a fatal error ended it; empty if none did.
func (t *Trail) Crash() string { return t.crash }

// Begin forgets what the former run left, and begins the trail of a run of that name. It returns where the former run's last words are, if it
// crashed.
func (t *Trail) Begin(run string) (kept string, err error) {
	if t.crash != "" {
		if kept, err = t.putAside(); err != nil {
			return "", fmt.Errorf("put crash of the former run aside: %w", err)
		}
		if err := t.catch(); err != nil {
			return "", err
		}
	}
	if err := t.crumbs.begin(run); err != nil {
		return "", fmt.Errorf("begin breadcrumbs: %w", err)
	}
	t.left = nil
	return kept, nil
}

// Mark says that message seq of partition p is being applied.
func (t *Trail) Mark(p int, seq uint64) { t.crumbs.set(p, seq) }

// Clear says that it was.
func (t *Trail) Clear(p int) { t.crumbs.set(p, 0) }

// Close ends the trail in good order. It must not be called while something is being applied.
func (t *Trail) Close() error {
	return errors.Join(release(), t.crumbs.close())
}

func offset(p int) int { return headerSize + slotSize*p }

// runOf is the name in a header; false if the file is not one of breadcrumbs.
func runOf(header []byte) (string, bool) {
	if !bytes.HasPrefix(header, []byte(magic)) {
		return "", false
	}
	return strings.TrimRight(string(header[runAt:runAt+maxRun]), "\x00"), true
}

func headerOf(run string) []byte {
	header := make([]byte, headerSize)
	copy(header, magic)
	copy(header[runAt:runAt+maxRun], run)
	return header
}

// sized opens the file with its full size allocated: a write into a mapping of a file with holes, on a full disk, would end the process. A file of
// another size is of another number of partitions, and is begun anew.
func sized(path string, size int) (*os.File, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != int64(size) {
		err = os.WriteFile(path, make([]byte, size), 0o600)
	}
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0o600)
}
