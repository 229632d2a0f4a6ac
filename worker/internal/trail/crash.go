package trail

import (
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

// readCrash is the line that tells most of a crash, empty if there was none, and when it was written.
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
	const most = 16 << 10
	data, err := io.ReadAll(io.LimitReader(f, most))
	return telling(string(data)), info.ModTime().UTC(), err
}

// telling is the line that says what went wrong. Of a fatal error the runtime writes that to stderr alone; then it is where the first goroutine was.
func telling(crash string) string {
	crash = strings.TrimSpace(crash)
	if slices.ContainsFunc(told, func(word string) bool { return strings.HasPrefix(crash, word) }) {
		return ""
	}
	first, _, _ := strings.Cut(crash, "\n")
	running := false
	for line := range strings.Lines(crash) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "panic:"), strings.HasPrefix(line, "fatal error:"):
			return line
		case running && line != "" && !strings.HasPrefix(line, "runtime") && !strings.HasPrefix(line, "/"):
			return "fatal error in " + line
		case strings.HasPrefix(line, "goroutine "):
			running = true
		}
	}
	return first
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
