package alerts

import (
	"bytes"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// program is a process that is started, killed and started again, always at the same addresses.
type program struct {
	t      *testing.T
	binary string
	args   []string

	mu  sync.Mutex
	log bytes.Buffer
	cmd *exec.Cmd
}

// Write takes what the process says.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// newProgram kills the process, and shows its log if the test has failed, when the test ends.
func newProgram(t *testing.T, binary string, args ...string) *program {
	p := &program{t: t, binary: binary, args: args}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%s %v said:\n%.20000s", p.binary, p.args, p.log.String())
		}
	})
	return p
}

// start begins a life, with more arguments.
func (p *program) start(args ...string) {
	p.t.Helper()
	p.cmd = exec.Command(p.binary, append(p.args[:len(p.args):len(p.args)], args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill is kill -9, if it runs.
func (p *program) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// once runs a verb of a program.
func once(t *testing.T, binary string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", binary, args, err, out)
	}
}
