package trail

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// KeepCrashes is how many former crashes are kept for people to read.
const KeepCrashes = 5

const crashPrefix = "crash-"

// catch points the runtime's crash output to the file.
func (t *Trail) catch() error {
	f, err := os.OpenFile(filepath.Join(t.dir, crashFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open crash output: %w", err)
	}
	defer f.Close() // the runtime has a descriptor of its own
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return fmt.Errorf("set crash output: %w", err)
	}
	return nil
}

// release takes it back.
func release() error { return debug.SetCrashOutput(nil, debug.CrashOptions{}) }

// told are the beginnings of what the runtime prints when somebody outside tells the process to show its goroutines and end: that is no crash.
var told = []string{"SIGQUIT", "SIGABRT"}

// readCrash is the first line that says something, empty if there was no crash, and when it was written.
func readCrash(path string) (text string, at time.Time, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", time.Now().UTC(), nil
	}
	if err != nil {
		return "", at, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", at, err
	}
	const most = 4096
	lines := bufio.NewScanner(io.LimitReader(f, most))
	for text == "" && lines.Scan() {
		text = strings.TrimSpace(lines.Text())
	}
	if slices.ContainsFunc(told, func(word string) bool { return strings.HasPrefix(text, word) }) {
		text = ""
	}
	return text, info.ModTime().UTC(), lines.Err()
}

// putAside gives the crash a name of its own, and deletes the oldest of those.
func (t *Trail) putAside() (string, error) {
	name := filepath.Join(t.dir, crashPrefix+time.Now().UTC().Format("20060102T150405.000000000")+".txt")
	if err := os.Rename(filepath.Join(t.dir, crashFile), name); err != nil {
		return "", err
	}
	kept, err := filepath.Glob(filepath.Join(t.dir, crashPrefix+"*.txt"))
	if err != nil {
		return "", err
	}
	slices.Sort(kept)
	for len(kept) > KeepCrashes {
		if err := os.Remove(kept[0]); err != nil {
			return "", err
		}
		kept = kept[1:]
	}
	return name, nil
}
