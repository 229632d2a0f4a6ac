package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Between two lines about the same trouble there is at least minSilence, then twice as much, up to maxSilence.
const (
	minSilence = 10 * time.Second
	maxSilence = 10 * time.Minute
)

// Soon is a Quiet for what is met often while it lasts.
const Soon = 15 * time.Second

// Trouble is one thing that goes wrong again and again, as everything does while a broker is away. It is said when it begins, then at growing
// intervals, each line with how often it was met (times) and for how long (lasting), and once when it is over. Who meets it as often as they like
// fills no disk: a trouble that comes and goes writes two lines in 10 s at most.
//
// The zero value is no trouble yet. Safe for concurrent use.
type Trouble struct {
	// Quiet ends a trouble that was not met for this long, for those where nobody notices that it is over; 0: it lasts until Over.
	Quiet time.Duration

	mu    sync.Mutex
	since time.Time // when it began; zero: there is none
	met   time.Time // the last time
	said  time.Time // the last line about it, or about the one before
	pause time.Duration
	times int
	aloud bool // this one was said
}

// Again notes that it went wrong once more, and logs that if it is time to.
func (t *Trouble) Again(log *slog.Logger, level slog.Level, msg string, attrs ...any) {
	lasting, times, due := t.meet(time.Now())
	if !due {
		return
	}
	if times > 1 {
		attrs = append(attrs, "times", times, "lasting", lasting.Round(time.Millisecond))
	}
	log.Log(context.Background(), level, msg, attrs...)
}

// Over notes that it goes well, and logs that if the trouble was logged. It costs little where there is none.
func (t *Trouble) Over(log *slog.Logger, msg string, attrs ...any) {
	lasted, times, aloud := t.end(time.Now())
	if aloud {
		log.Info(msg, append(attrs, "times", times, "lasted", lasted.Round(time.Millisecond))...)
	}
}

func (t *Trouble) meet(now time.Time) (lasting time.Duration, times int, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || t.Quiet > 0 && now.Sub(t.met) > t.Quiet {
		t.since, t.pause, t.times, t.aloud = now, minSilence, 0, false
	}
	t.met = now
	t.times++
	if !t.said.IsZero() && now.Sub(t.said) < t.pause {
		return 0, 0, false
	}
	if t.aloud {
		t.pause = min(2*t.pause, maxSilence)
	}
	t.said, t.aloud = now, true
	return now.Sub(t.since), t.times, true
}

func (t *Trouble) end(now time.Time) (lasted time.Duration, times int, aloud bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return 0, 0, false
	}
	lasted, times, aloud = now.Sub(t.since), t.times, t.aloud
	t.since, t.aloud = time.Time{}, false
	return lasted, times, aloud
}
