package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that is started, killed and started again. What it writes is appended to a file.
type process struct {
	name    string
	binary  string
	args    []string
	env     []string
	log     string // file
	clock   *Clock
	ended   func(p *process, state *os.ProcessState) // called when it ends though nobody said so
	mu      sync.Mutex
	running *run
}

// run is one life of a process.
type run struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when it said so
	said  string        // with which words
	gone  chan struct{} // closed when it has ended
	told  bool          // to end
}

// newProcess does not start it.
func newProcess(dir, name, binary string, args ...string) (*process, error) {
	clock, err := newClock(filepath.Join(dir, name+".clock"))
	if err != nil {
		return nil, err
	}
	return &process{name: name, binary: binary, args: args, log: filepath.Join(dir, name+".log"), clock: clock}, nil
}

// start begins a life, with args after the usual ones.
func (p *process) start(args ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return fmt.Errorf("start %s: it is running", p.name)
	}
	out, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Fprintf(out, "--- %s starts %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), p.name, strings.Join(args, " "))
	r := &run{ready: make(chan struct{}), gone: make(chan struct{})}
	r.cmd = exec.Command(p.binary, slices.Concat(p.args, args)...)
	r.cmd.Env = slices.Concat(os.Environ(), p.env, []string{p.clock.environ()})
	r.cmd.Stderr = out
	r.cmd.Stdout = &readyWriter{run: r, log: p.log}
	r.cmd.SysProcAttr = dieWithParent()
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.running = r
	go p.watch(r)
	return nil
}

// watch waits for the end.
func (p *process) watch(r *run) {
	r.cmd.Wait()
	p.mu.Lock()
	told := r.told
	if p.running == r {
		p.running = nil
	}
	p.mu.Unlock()
	if !told && p.ended != nil {
		p.ended(p, r.cmd.ProcessState)
	}
	close(r.gone)
}

// readyWriter takes stdout: it looks for the line that says that a program is ready, and passes everything on to the log.
type readyWriter struct {
	run  *run
	log  string
	text []byte
	seen bool
}

func (w *readyWriter) Write(data []byte) (int, error) {
	if !w.seen {
		w.text = append(w.text, data...)
		if line, _, whole := strings.Cut(string(w.text), "\n"); whole && strings.HasPrefix(line, "ready ") {
			w.seen, w.run.said = true, strings.TrimPrefix(line, "ready ")
			close(w.run.ready)
		}
	}
	out, err := os.OpenFile(w.log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	return out.Write(data)
}

// current is the life that is lived, nil if none is.
func (p *process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

// awaitReady waits until the process says that it is ready.
func (p *process) awaitReady(ctx context.Context) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("wait until %s is ready: it does not run", p.name)
	}
	select {
	case <-r.ready:
		return nil
	case <-r.gone:
		return fmt.Errorf("wait until %s is ready: it has ended: %v", p.name, r.cmd.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("wait until %s is ready: %w", p.name, ctx.Err())
	}
}

// signal sends one. A process that is gone is an error.
func (p *process) signal(s os.Signal) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("send %v to %s: it does not run", s, p.name)
	}
	return r.cmd.Process.Signal(s)
}

// end tells a process to end by a signal, and waits for it. One that does not run has ended.
func (p *process) end(ctx context.Context, s os.Signal) error {
	p.mu.Lock()
	r := p.running
	if r != nil {
		r.told = true
	}
	p.mu.Unlock()
	if r == nil {
		return nil
	}
	if err := r.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", s, p.name, err)
	}
	select {
	case <-r.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s after %v: %w", p.name, s, ctx.Err())
	}
}

func (p *process) kill(ctx context.Context) error { return p.end(ctx, syscall.SIGKILL) }
func (p *process) stop(ctx context.Context) error { return p.end(ctx, syscall.SIGTERM) }

// said is what a process said of itself when it was ready: the value of a name.
func (p *process) said(name string) string {
	r := p.current()
	if r == nil {
		return ""
	}
	select {
	case <-r.ready:
	default:
		return ""
	}
	for field := range strings.FieldsSeq(r.said) {
		if value, ok := strings.CutPrefix(field, name+"="); ok {
			return value
		}
	}
	return ""
}
