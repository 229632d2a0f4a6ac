package loadgen

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	progressEvery = time.Second
	progressBar   = 20 // characters
)

// progress writes a line a second until the returned function is called: over the one before on a terminal, below it otherwise.
func (r *Session) progress(ctx context.Context) (stop func()) {
	if r.cfg.Quiet {
		return func() {}
	}
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	begun, ended := time.Now(), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		last := r.accepted.Load()
		for pause(ctx, progressEvery) {
			now := r.accepted.Load()
			r.show(os.Stderr, terminal, time.Since(begun), now-last)
			last = now
		}
		if terminal {
			fmt.Fprint(os.Stderr, "\r\x1b[K")
		}
	}()
	return func() { cancel(); <-ended }
}

// show writes one line.
func (r *Session) show(w io.Writer, terminal bool, elapsed time.Duration, lately uint64) {
	line := fmt.Sprintf("%4.0fs of %.0fs  accepted %d (%d/s)", elapsed.Seconds(), r.cfg.Duration.Seconds(), r.accepted.Load(), lately)
	if n := r.refused.Load(); n > 0 {
		line += fmt.Sprintf("  refused %d", n)
	}
	if n := r.unknown.Load(); n > 0 {
		line += fmt.Sprintf("  unknown %d", n)
	}
	if !terminal {
		fmt.Fprintln(w, line)
		return
	}
	full := min(progressBar, int(progressBar*elapsed/r.cfg.Duration))
	fmt.Fprintf(w, "\r\x1b[K[%s%s] %s", strings.Repeat("#", full), strings.Repeat(".", progressBar-full), line)
}
