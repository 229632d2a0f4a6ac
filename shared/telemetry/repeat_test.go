package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// lines is an output that remembers them.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, strings.TrimSpace(string(p)))
	return len(p), nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.text)
}

// of are the values of a member in the lines with that message.
func (l *lines) of(t *testing.T, msg, member string) (values []any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.text {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if line["msg"] == msg {
			values = append(values, line[member])
		}
	}
	return values
}

func repeating(t *testing.T, f func(t *testing.T, log *slog.Logger, out *lines)) {
	synctest.Test(t, func(t *testing.T) {
		out := &lines{}
		c := LogConfig{Format: LogJSON, Repeat: 3, RepeatWindow: 10 * time.Second, Level: slog.LevelDebug}
		f(t, c.Logger(out), out)
	})
}

func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// The first lines pass, the others are counted, and the count is told when the window is over, with nothing following.
func TestRepeatedLinesAreCounted(t *testing.T) {
	repeating(t, func(t *testing.T, log *slog.Logger, out *lines) {
		reg := prometheus.NewPedanticRegistry()
		if err := ShowRepeats(log, reg); err != nil {
			t.Fatal(err)
		}
		for n := range 100 {
			log.Error("it broke", "error", errors.New("why"), "n", n)
		}
		if got := out.of(t, "it broke", "n"); fmt.Sprint(got) != "[0 1 2]" {
			t.Errorf("lines %v", got)
		}
		wait(10*time.Second - 1)
		if got := out.of(t, "it broke", "repeated"); len(got) != 3 {
			t.Errorf("told early: %v", got)
		}
		wait(1)
		if got := out.of(t, "it broke", "repeated"); fmt.Sprint(got) != "[<nil> <nil> <nil> 97]" {
			t.Errorf("lines with repeated %v", got)
		}
		wait(time.Minute)
		log.Error("it broke", "n", 100)
		if got := out.of(t, "it broke", "n"); fmt.Sprint(got) != "[0 1 2 <nil> 100]" {
			t.Errorf("lines %v", got)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP triggerd_log_suppressed_lines_total Lines of the log that were not written because they repeated others, by level. Bad if it grows: see repeated in the log.
# TYPE triggerd_log_suppressed_lines_total counter
triggerd_log_suppressed_lines_total{level="ERROR"} 97
triggerd_log_suppressed_lines_total{level="INFO"} 0
triggerd_log_suppressed_lines_total{level="WARN"} 0
`)); err != nil {
			t.Error(err)
		}
	})
}

// A flood that goes on is told of once in each window, and each begins with lines that say what it is about.
func TestFloodIsBounded(t *testing.T) {
	repeating(t, func(t *testing.T, log *slog.Logger, out *lines) {
		for range 60_000 { // a minute
			log.Warn("flood")
			wait(time.Millisecond)
		}
		wait(10 * time.Second)
		sum := 0.0
		for _, n := range out.of(t, "flood", "repeated") {
			if n != nil {
				sum += n.(float64)
			}
		}
		if n := out.count(); n != 6*4 || sum != 60_000-6*3 {
			t.Errorf("%d lines that say %v were left out", n, sum)
		}
	})
}

// Levels, messages and partitions do not hide each other, wherever the partition comes from. The line that tells has the logger's attributes.
func TestOneTroubleDoesNotHideAnother(t *testing.T) {
	repeating(t, func(t *testing.T, log *slog.Logger, out *lines) {
		seven, three := log.With("partition", 7, "worker", "w"), log.With("worker", "w").With("partition", 3)
		for range 10 {
			seven.Error("halted")
			log.Error("halted", "partition", 9)
			log.Error("halted")
			log.Info("halted")
			log.Debug("debug is not limited")
		}
		three.Error("halted")
		if n := len(out.of(t, "halted", "partition")); n != 4*3+1 || out.of(t, "halted", "partition")[n-1] != 3.0 || len(out.of(t, "debug is not limited", "")) != 10 {
			t.Errorf("%d lines: %v", n, out.text)
		}
		wait(10 * time.Second)
		told := map[string]int{}
		for i, n := range out.of(t, "halted", "repeated") {
			if n == 7.0 {
				told[fmt.Sprintf("%v %v %v", out.of(t, "halted", "level")[i], out.of(t, "halted", "partition")[i], out.of(t, "halted", "worker")[i])]++
			}
		}
		if fmt.Sprint(told) != `map[ERROR 7 w:1 ERROR 9 <nil>:1 ERROR <nil> <nil>:1 INFO <nil> <nil>:1]` {
			t.Errorf("told %v", told)
		}
	})
}

// What is left out when the process ends is told then.
func TestFlushTellsWhatWasLeftOut(t *testing.T) {
	repeating(t, func(t *testing.T, log *slog.Logger, out *lines) {
		for range 5 {
			log.Warn("last words")
		}
		FlushRepeats(log)
		FlushRepeats(log)
		if got := out.of(t, "last words", "repeated"); fmt.Sprint(got) != "[<nil> <nil> <nil> 2]" {
			t.Errorf("lines with repeated %v", got)
		}
		wait(time.Minute)
		if n := out.count(); n != 4 {
			t.Errorf("%d lines", n)
		}
	})
}

// The memory for kinds of lines is bounded; a flood of messages is one kind then, and room is made when it is over.
func TestKindsAreBounded(t *testing.T) {
	repeating(t, func(t *testing.T, log *slog.Logger, out *lines) {
		all := log.Handler().(*repeatHandler).all
		kinds := func() int {
			all.mu.Lock()
			defer all.mu.Unlock()
			return len(all.bursts)
		}
		for n := range 3 * maxKinds {
			log.Info(fmt.Sprint("message ", n))
		}
		if n, written := kinds(), out.count(); n > maxKinds+1 || written != maxKinds+3 {
			t.Errorf("%d kinds, %d lines", n, written)
		}
		wait(10 * time.Second)
		if got := out.of(t, others, "repeated"); fmt.Sprint(got) != fmt.Sprint([]any{float64(2*maxKinds - 3)}) {
			t.Errorf("told %v", got)
		}
		log.Info("something new")
		if n := kinds(); n != 1 {
			t.Errorf("%d kinds when all is over", n)
		}
	})
}

func TestRepeatsAreWrittenByManyAtOnce(t *testing.T) {
	repeating(t, func(t *testing.T, log *slog.Logger, out *lines) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					log.With("partition", 1).Warn("many")
				}
			})
		}
		wg.Wait()
		FlushRepeats(log)
		if got := out.of(t, "many", "repeated"); fmt.Sprint(got) != "[<nil> <nil> <nil> 797]" {
			t.Errorf("lines with repeated %v", got)
		}
	})
}

func TestRepeatIsOff(t *testing.T) {
	out := &lines{}
	log := (&LogConfig{Format: LogJSON}).Logger(out)
	for range 100 {
		log.Warn("again")
	}
	FlushRepeats(log)
	if len(out.text) != 100 || ShowRepeats(log, nil) != nil {
		t.Errorf("%d lines", len(out.text))
	}
	for _, c := range []LogConfig{{Format: LogJSON, Repeat: -1, RepeatWindow: time.Second}, {Format: LogJSON, Repeat: 1}} {
		if c.Validate() == nil {
			t.Errorf("%+v: taken", c)
		}
	}
}
