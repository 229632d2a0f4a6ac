package operator_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/operator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   int
		stderr string
	}{
		{nil, 0, ""},
		{fmt.Errorf("help: %w", flag.ErrHelp), 0, ""},
		{errors.New("disk is gone"), 1, "limit set: disk is gone\n"},
		{fmt.Errorf("%w: -rate is missing", operator.ErrUsage), 2, "-rate is missing\n"},
		{fmt.Errorf("wrong, as shown: %w", operator.Exit(3)), 3, ""},
	} {
		var stdout, stderr bytes.Buffer
		console := operator.Console{Program: "ingress", Command: "limit set", Stdout: &stdout, Stderr: &stderr}
		code := console.Run(func(operator.Console) error { return c.err })
		if code != c.code || stdout.Len() > 0 || stderr.String() != c.stderr {
			t.Errorf("%v: code %d, %q, %q", c.err, code, stdout.String(), stderr.String())
		}
	}
}

// settings of a command with one flag of its own.
type settings struct {
	operator.Settings
	who string
}

func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	s.Settings.RegisterFlags(fs)
	fs.StringVar(&s.who, "who", "nobody", "`name`")
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"-who me", 0, "me within 7s", ""},
		{"-who me -timeout 1m", 0, "me within 1m0s", ""},
		{"", 0, "beside within 7s", ""},
		{"-h", 0, "worker pause", ""},
		{"-how", 2, "", "-how"},
		{"-timeout 0s", 2, "", "-timeout is 0s, not over 0"},
		{"-timeout -1s -nats-url x://", 2, "", "-nats-url has a part without a host"},
	} {
		var stdout, stderr bytes.Buffer
		console := operator.Console{Program: "worker", Command: "pause", Stdout: &stdout, Stderr: &stderr,
			Environ: []string{"TRIGGERD_DATA_DIR=/x", "TRIGGERD_WHO=beside", "TRIGGERD_TIMEOUT=7s", "HOME=/"}}
		code := console.Run(func(console operator.Console) error {
			s := &settings{}
			err := console.Load(strings.Fields(c.args), s)
			if err == nil {
				fmt.Fprintf(console.Stdout, "%s within %s", s.who, s.Timeout)
			}
			return err
		})
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) || (code == 0) != (stderr.Len() == 0) {
			t.Errorf("%q: code %d, %q, %q", c.args, code, stdout.String(), stderr.String())
		}
	}
}

// strict is a writer that is not safe for concurrent use, and notices it.
type strict struct {
	mu      sync.Mutex
	overlap bool
	lines   int
}

func (s *strict) Write(p []byte) (int, error) {
	if !s.mu.TryLock() {
		s.overlap = true
		return 0, errors.New("two at once")
	}
	defer s.mu.Unlock()
	runtime.Gosched() // whoever else wants to write may
	s.lines++
	return len(p), nil
}

// What logs and the command itself write one at a time, even where stdout and stderr are the same.
func TestWritesAreOneAtATime(t *testing.T) {
	const each = 1000
	to := &strict{}
	operator.Console{Stdout: to, Stderr: to}.Run(func(c operator.Console) error {
		var all sync.WaitGroup
		for _, w := range []io.Writer{c.Stdout, c.Stderr, c.Stderr} {
			all.Go(func() {
				for range each {
					_, _ = w.Write([]byte("line\n"))
				}
			})
		}
		all.Wait()
		return nil
	})
	if to.overlap || to.lines != 3*each {
		t.Errorf("%d lines, two at once: %v", to.lines, to.overlap)
	}
}

// A logger that outlives the command writes nothing where somebody else reads by then.
func TestNothingIsWrittenAfterRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	var late operator.Console
	operator.Console{Stdout: &stdout, Stderr: &stderr}.Run(func(c operator.Console) error {
		late = c
		fmt.Fprint(c.Stderr, "during")
		return nil
	})
	fmt.Fprint(late.Stdout, "after")
	if n, err := fmt.Fprint(late.Stderr, "after"); n != len("after") || err != nil {
		t.Errorf("a late line gets %d, %v", n, err)
	}
	if stdout.Len() > 0 || stderr.String() != "during" {
		t.Errorf("%q, %q", stdout.String(), stderr.String())
	}
}
