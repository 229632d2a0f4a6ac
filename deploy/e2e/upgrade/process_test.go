//go:build upgrade

package upgrade

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
)

// process is one life of a program.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  transcript
	gone chan struct{}
}

// transcript is what a process wrote, to be looked at while it writes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start begins a life, which ends with the test at the latest.
func start(t *testing.T, name, binary string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(binary, args...), gone: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.gone) }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.gone
		if t.Failed() {
			t.Logf("end of what %s wrote:\n%s", name, tail(p.out.String(), 30))
		}
	})
	return p
}

// ready waits for the ready line, and returns what it says.
func (p *process) ready() map[string]string {
	p.t.Helper()
	var line string
	natstest.Eventually(p.t, func() bool {
		for said := range strings.Lines(p.out.String()) {
			if strings.HasPrefix(said, "ready ") && strings.HasSuffix(said, "\n") {
				line = said
			}
		}
		return line != "" || p.ended()
	}, "%s to be ready", p.name)
	if p.ended() {
		p.t.Fatalf("%s ended before it was ready: %v", p.name, p.cmd.ProcessState)
	}
	said := map[string]string{}
	for _, field := range strings.Fields(line) {
		if name, value, ok := strings.Cut(field, "="); ok {
			said[name] = value
		}
	}
	return said
}

func (p *process) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// await waits for the end, which must be a good one.
func (p *process) await() {
	p.t.Helper()
	select {
	case <-p.gone:
	case <-time.After(natstest.Patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s ended with %v", p.name, p.cmd.ProcessState)
	}
}

// stop tells it to drain and end.
func (p *process) stop() {
	p.t.Helper()
	p.drain()
	p.errors()
}

// drain is for a process that had something to complain of.
func (p *process) drain() {
	p.t.Helper()
	if p.ended() {
		p.t.Fatalf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.await()
}

// callerGone is what an ingress writes of a request whose connection was closed under it: one that came while the server closed what was idle, as it stops. The
// caller had no answer, and nothing was stored.
const callerGone = `error="unavailable: context canceled"`

// errors are faults of the run: nothing here is broken but the builds.
func (p *process) errors() {
	p.t.Helper()
	for line := range strings.Lines(p.out.String()) {
		if strings.Contains(line, "level=ERROR") && !strings.Contains(line, callerGone) {
			p.t.Errorf("%s: %s", p.name, line)
		}
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
