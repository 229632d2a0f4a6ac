package natstest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// maxLogLines bounds what a noisy test keeps of the server's log; the newest lines win.
const maxLogLines = 500

// logBuffer takes the server's log. It outlives the test, as testing.T.Log does not.
type logBuffer struct {
	mu    sync.Mutex
	lines []string
}

func (l *logBuffer) add(level, format string, v []any) {
	l.take(time.Now().Format("15:04:05.000 ") + level + " " + fmt.Sprintf(format, v...))
}

// take keeps one line.
func (l *logBuffer) take(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == maxLogLines {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	l.lines = append(l.lines, line)
}

// String is the log so far, a line an entry.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (l *logBuffer) Noticef(format string, v ...any) { l.add("INF", format, v) }
func (l *logBuffer) Warnf(format string, v ...any)   { l.add("WRN", format, v) }
func (l *logBuffer) Fatalf(format string, v ...any)  { l.add("FTL", format, v) }
func (l *logBuffer) Errorf(format string, v ...any)  { l.add("ERR", format, v) }
func (l *logBuffer) Debugf(format string, v ...any)  { l.add("DBG", format, v) }
func (l *logBuffer) Tracef(format string, v ...any)  { l.add("TRC", format, v) }
