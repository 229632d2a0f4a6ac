package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
)

// asChild makes this test binary be a worker, so that tests have a process of their own to kill.
const asChild = "BE_WORKER"

// child is what the binary's main is.
func child() int {
	cfg := &workerSettings{}
	return process.Main("worker", cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		parts, err := cfg.parts(env)
		return append(parts, announce(func() { fmt.Println("ready", env.Admin) })), err
	})
}

// proc is a worker as another process.
type proc struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr strings.Builder
	admin  string
}

// spawn starts a worker on the fleet's files and waits until it is ready.
func (f *fleet) spawn(args ...string) *proc {
	f.t.Helper()
	args = slices.Concat([]string{"-nats-url", f.nats.URL(), "-data-dir", f.dir}, f.args, args)
	p := &proc{t: f.t, cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asChild+"=1")
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(p.cleanup)
	late := time.AfterFunc(natstest.Patience, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	if _, err := fmt.Fscanf(bufio.NewReader(stdout), "ready %s\n", &p.admin); err != nil {
		p.cmd.Wait()
		f.t.Fatalf("worker ended before it was ready: %v\n%s", p.cmd.ProcessState, p.stderr.String())
	}
	return p
}

func (p *proc) cleanup() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	if p.t.Failed() {
		p.t.Logf("stderr of worker %d:\n%s", p.cmd.Process.Pid, p.stderr.String())
	}
}

// kill is kill -9.
func (p *proc) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Wait()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("worker was not killed: %v", p.cmd.ProcessState)
	}
}
