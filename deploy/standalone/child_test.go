package standalone_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/deploy/standalone"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
)

// asChild makes this test binary be standalone, so that tests have a process of their own to kill.
const asChild = "BE_STANDALONE"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// child is what the binary's main is.
func child() int {
	var cfg standalone.Config
	return process.Execute("standalone", func(ctx context.Context, stderr io.Writer) error {
		deps := standalone.Deps{Logger: cfg.Process.Log.Logger(stderr), Stdout: os.Stdout}
		return standalone.New(cfg, deps).Run(ctx)
	}, &cfg)
}

// flags keep a test's data small, and its ports free.
func flags(dir string, more ...string) []string {
	return append([]string{"-data-dir", dir, "-http-addr", "127.0.0.1:0", "-admin-addr", "127.0.0.1:0", "-partitions", "2",
		"-triggers-max-bytes", "256MiB", "-events-max-bytes", "256MiB"}, more...)
}

// proc is standalone as another process.
type proc struct {
	t           *testing.T
	cmd         *exec.Cmd
	stderr      strings.Builder
	http, admin string
}

// spawn starts a process and waits for its ready line. A process that does not come to that fails the test.
func spawn(t *testing.T, args ...string) *proc {
	t.Helper()
	p := &proc{t: t, cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asChild+"=1")
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if t.Failed() {
			t.Logf("stderr of process %d:\n%s", p.cmd.Process.Pid, p.stderr.String())
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.cmd.Wait()
		t.Fatalf("process ended before it was ready: %v\n%s", p.cmd.ProcessState, p.stderr.String())
	}
	p.http, p.admin = addrs(t, line)
	return p
}

// addrs reads the ready line. Whoever starts standalone depends on its form: it must not change.
func addrs(t *testing.T, line string) (http, admin string) {
	t.Helper()
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != "ready" || !strings.HasPrefix(fields[1], "http=127.0.0.1:") || !strings.HasPrefix(fields[2], "admin=127.0.0.1:") {
		t.Fatalf("ready line is %q", line)
	}
	return strings.TrimPrefix(fields[1], "http="), strings.TrimPrefix(fields[2], "admin=")
}

// kill is kill -9.
func (p *proc) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Wait()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("process was not killed: %v", p.cmd.ProcessState)
	}
}

// terminate asks the process to stop and returns its exit code.
func (p *proc) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { p.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-patience():
		p.cmd.Process.Signal(syscall.SIGQUIT) // shows where it hangs
		<-ended
		p.t.Fatal("process did not stop")
	}
	return p.cmd.ProcessState.ExitCode()
}

// spawnOnly runs a process that is expected to end by itself.
func spawnOnly(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asChild+"=1")
	cmd.Stderr = &strings.Builder{}
	cmd.Run()
	return cmd
}
