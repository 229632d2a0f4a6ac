package telemetry_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// spoken is a logger whose lines are kept without their times.
func spoken() (*slog.Logger, func() []string) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return log, func() []string { return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }) }
}

// pass lets the bubble's clock go on.
func pass(d time.Duration) { <-time.After(d) }

func TestTroubleIsSaidAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := spoken()
		var trouble telemetry.Trouble
		for range 36000 { // an hour
			trouble.Again(log, slog.LevelWarn, "broker is away", "cause", "timeout")
			pass(100 * time.Millisecond)
		}
		trouble.Over(log, "broker is back")
		trouble.Over(log, "broker is back")
		got := lines()
		want := []string{
			`level=WARN msg="broker is away" cause=timeout`,
			`level=WARN msg="broker is away" cause=timeout times=101 lasting=10s`,
			`level=WARN msg="broker is away" cause=timeout times=301 lasting=30s`,
		}
		for i, line := range want {
			if i >= len(got) || got[i] != line {
				t.Fatalf("line %d is not %q: %q", i, line, got)
			}
		}
		if last := got[len(got)-1]; last != `level=INFO msg="broker is back" times=36000 lasted=1h0m0s` {
			t.Errorf("the last line is %q", last)
		}
		if len(got) > 14 {
			t.Errorf("%d lines in an hour", len(got))
		}
	})
}

// What comes and goes is two lines in 10 s, however fast.
func TestTroubleThatComesAndGoesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := spoken()
		var trouble telemetry.Trouble
		for range 600 { // a minute
			trouble.Again(log, slog.LevelWarn, "refused")
			pass(50 * time.Millisecond)
			trouble.Over(log, "taken")
			pass(50 * time.Millisecond)
		}
		if n := len(lines()); n != 12 {
			t.Errorf("%d lines in a minute, not 12", n)
		}
	})
}

// Where nobody says that it is over, what was quiet for long is another one, and said at once.
func TestTroubleThatWentByItselfBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := spoken()
		trouble := telemetry.Trouble{Quiet: telemetry.Soon}
		for range 3 {
			trouble.Again(log, slog.LevelError, "request failed")
			pass(time.Second)
			trouble.Again(log, slog.LevelError, "request failed")
			pass(time.Hour)
		}
		if got := lines(); len(got) != 3 || strings.Contains(got[2], "times") {
			t.Errorf("got %q", got)
		}
	})
}
