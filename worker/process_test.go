package worker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
)

// asMate makes this test binary a worker's process. Its value is what the worker does when it meets a message, as in "crash 1 37": a fatal error at message 37 of
// partition 1; "block 1 37": it says so and waits; "none 0 0".
const asMate = "BE_MATE"

// Where a mate's process finds its broker and its files.
const (
	mateURL  = "MATE_URL"
	mateHome = "MATE_HOME"
)

// mateProcess never returns.
func mateProcess() {
	debug.SetMaxStack(1 << 20) // a real overflow, sooner
	var what string
	var p int
	var seq uint64
	_, err := fmt.Sscan(os.Getenv(asMate), &what, &p, &seq)
	if err == nil {
		err = runMate(what, p, seq)
	}
	fmt.Println("ended", err)
	os.Exit(3)
}

func runMate(what string, p int, seq uint64) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	conn, err := nats.Connect(os.Getenv(mateURL), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	b, err := broker.Ensure(context.Background(), conn, fleetSettings, log)
	if err != nil {
		return err
	}
	w, err := New(Config{DataDir: os.Getenv(mateHome), CheckpointEvery: 50 * time.Millisecond}, Deps{Broker: b, Logger: log})
	if err != nil {
		return err
	}
	w.meets = func(gotP int, gotSeq uint64) {
		if gotP != p || gotSeq != seq {
			return
		}
		switch what {
		case "crash":
			fmt.Println(overflow(0))
		case "block":
			fmt.Println("blocked")
			select {}
		}
	}
	go func() {
		<-w.Ready()
		fmt.Println("ready")
	}()
	return w.Run(context.Background())
}

// overflow is a fatal error that nobody can recover from.
func overflow(n int) int {
	if n < 0 { // never: there is no stack for that
		return 0
	}
	return overflow(n+1) + 1
}

// proc is a worker's process.
type proc struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr strings.Builder
}

// spawn starts a worker's process in a home of that name.
func (f *fleet) spawn(home, meets string) *proc {
	f.t.Helper()
	p := &proc{t: f.t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), asMate+"="+meets, mateURL+"="+f.srv.URL(), mateHome+"="+filepath.Join(f.dir, home))
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	p.out = bufio.NewReader(stdout)
	f.t.Cleanup(func() {
		p.kill()
		if f.t.Failed() {
			f.t.Logf("stderr of %s, %s:\n%.6000s", home, meets, p.stderr.String())
		}
	})
	return p
}

// says waits until the process says that.
func (p *proc) says(word string) *proc {
	p.t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		if strings.TrimSpace(line) == word {
			return p
		}
		if err != nil {
			p.t.Fatalf("process says %q, %v, not %s", line, err, word)
		}
	}
}

// dies waits until the process has ended by itself, by a fatal error.
func (p *proc) dies() {
	p.t.Helper()
	rest, _ := io.ReadAll(p.out)
	err := p.cmd.Wait()
	if err == nil || !strings.Contains(p.stderr.String(), "stack overflow") {
		p.t.Fatalf("process ends with %v and says %q", err, rest)
	}
}

func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
