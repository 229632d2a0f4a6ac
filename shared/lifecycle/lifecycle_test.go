package lifecycle_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/lifecycle"
)

// asChild makes this test binary a program that is told to stop and does not.
const asChild = "BE_STUBBORN"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		stubborn()
	}
	goleak.VerifyTestMain(m)
}

func stubborn() {
	ctx, stop := lifecycle.Signals(context.Background())
	defer stop()
	fmt.Println("up")
	<-ctx.Done()
	fmt.Println("told")
	<-time.After(time.Hour)
}

var errBroken = errors.New("broken")

// diary notes what parts do.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) expect(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, want) {
		t.Errorf("parts did %q, want %q", d.lines, want)
	}
}

// part needs a second to become ready and a second to drain; in a bubble both are exact.
func (d *diary) part(name string) lifecycle.Part {
	return lifecycle.Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		d.note("%s starts", name)
		<-time.After(time.Second)
		d.note("%s ready", name) // first: the next part starts beside this one
		ready()
		ready() // twice does no harm
		<-ctx.Done()
		d.note("%s stops", name)
		<-time.After(time.Second)
		d.note("%s done", name)
		return nil
	}}
}

// failing becomes ready and fails after that long, whether or not it is told to stop.
func (d *diary) failing(name string, after time.Duration, err error) lifecycle.Part {
	return lifecycle.Part{Name: name, Run: func(_ context.Context, ready func()) error {
		ready()
		<-time.After(after)
		d.note("%s returns", name)
		return err
	}}
}

func TestRunStartsInOrderAndStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := lifecycle.Run(ctx, d.part("a"), d.part("b"), d.part("c")); err != nil {
			t.Errorf("Run: %v", err)
		}
		d.expect(t, "a starts", "a ready", "b starts", "b ready", "c starts", "c ready",
			"c stops", "c done", "b stops", "b done", "a stops", "a done")
	})
}

func TestRunStopsTheOthersWhenOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		err := lifecycle.Run(t.Context(), d.part("a"), d.failing("b", time.Hour, errBroken), d.part("c"))
		if !errors.Is(err, errBroken) || err.Error() != "b: broken" {
			t.Errorf("Run: %v", err)
		}
		d.expect(t, "a starts", "a ready", "c starts", "c ready", "b returns", "c stops", "c done", "a stops", "a done")
	})
}

func TestRunDoesNotStartWhatComesAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		never := lifecycle.Part{Name: "b", Run: func(context.Context, func()) error { return errBroken }}
		err := lifecycle.Run(t.Context(), d.part("a"), never, d.part("c"))
		if !errors.Is(err, errBroken) {
			t.Errorf("Run: %v", err)
		}
		d.expect(t, "a starts", "a ready", "a stops", "a done")
	})
}

// A part may break while a later one is still starting.
func TestRunNoticesAFailureWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		slow := lifecycle.Part{Name: "b", Run: func(ctx context.Context, _ func()) error { <-ctx.Done(); return nil }}
		err := lifecycle.Run(t.Context(), d.failing("a", time.Minute, errBroken), slow, d.part("c"))
		if !errors.Is(err, errBroken) {
			t.Errorf("Run: %v", err)
		}
		d.expect(t, "a returns")
	})
}

func TestRunCalledOffWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := lifecycle.Run(ctx, d.part("a"), d.part("b"), d.part("c")); err != nil {
			t.Errorf("Run: %v", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if slices.Contains(d.lines, "c starts") || d.lines[len(d.lines)-1] != "a done" {
			t.Errorf("parts did %q", d.lines)
		}
	})
}

func TestRunCallsAPartThatEndsUnaskedAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		err := lifecycle.Run(t.Context(), d.part("a"), d.failing("b", time.Second, nil))
		if !errors.Is(err, lifecycle.ErrEnded) {
			t.Errorf("Run: %v, want ErrEnded", err)
		}
	})
}

func TestRunKeepsFailuresOfStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errStop := errors.New("cannot flush")
		stopping := lifecycle.Part{Name: "a", Run: func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return errStop
		}}
		var d diary
		err := lifecycle.Run(t.Context(), stopping, d.failing("b", time.Second, errBroken))
		if !errors.Is(err, errBroken) || !errors.Is(err, errStop) || err.Error() != "b: broken\na: cannot flush" {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestReadinessFailsBeforeAnythingStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := lifecycle.NewHealth()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		served := lifecycle.Part{Name: "served", Run: func(ctx context.Context, ready func()) error {
			ready()
			if _, ok := health.Statuses(); !ok {
				t.Error("not ready while running")
			}
			<-ctx.Done()
			if _, ok := health.Statuses(); ok {
				t.Error("still ready when the part before is told to stop")
			}
			return nil
		}}
		if err := lifecycle.Run(ctx, served, lifecycle.Readiness(health)); err != nil {
			t.Error(err)
		}
	})
}

func TestHealthNamesWhatIsWrong(t *testing.T) {
	health := lifecycle.NewHealth()
	health.Register("log", func() (string, error) { return "5 streams", nil })
	health.Register("worker", func() (string, error) { return "", errBroken })
	statuses, ready := health.Statuses()
	want := []lifecycle.Status{{Name: "log", Detail: "5 streams"}, {Name: "worker", Err: errBroken}}
	if ready || !slices.Equal(statuses, want) {
		t.Errorf("got %v, ready %v", statuses, ready)
	}
	health.Drain()
	if statuses, ready = health.Statuses(); ready || !errors.Is(statuses[0].Err, lifecycle.ErrDraining) {
		t.Errorf("draining: got %v, ready %v", statuses, ready)
	}
}

func TestNilHealthForgets(t *testing.T) {
	var health *lifecycle.Health
	health.Register("x", func() (string, error) { return "", errBroken })
	health.Drain()
	if _, ready := health.Statuses(); !ready {
		t.Error("a nil Health is always ready")
	}
}

func TestSignalsEndTheContextOnce(t *testing.T) {
	ctx, stop := lifecycle.Signals(t.Context())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
}

// Whoever presses Ctrl-C twice does not want to wait for draining.
func TestSecondSignalEndsTheProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(stdout)
	for _, want := range []string{"up", "told"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("it says %q, not %q", lines.Text(), want)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for again := time.NewTicker(10 * time.Millisecond); ; { // the second may come before the first is done with
		select {
		case <-ended:
			again.Stop()
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
				t.Errorf("ended with %v", cmd.ProcessState)
			}
			return
		case <-again.C:
			cmd.Process.Signal(syscall.SIGINT)
		}
	}
}
