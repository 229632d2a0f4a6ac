package trail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asChild makes this test binary a process that opens the directory, marks partition 2 at 77, and ends as it is told.
const (
	asChild = "BE_TRAIL"
	asEnd   = "TRAIL_END"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(asChild); dir != "" {
		child(dir, os.Getenv(asEnd))
	}
	os.Exit(m.Run())
}

func child(dir, end string) {
	debug.SetMaxStack(1 << 20)
	t, err := Open(dir, 4)
	if err == nil {
		_, err = t.Begin("childrun")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	t.Mark(1, 5)
	t.Clear(1)
	t.Mark(2, 77)
	switch end {
	case "overflow":
		fmt.Println(overflow(0))
	case "panic":
		go func() { panic("somewhere else") }()
		<-time.After(time.Hour)
	case "order":
		t.Clear(2)
		_ = t.Close()
		os.Exit(0)
	default:
		fmt.Println("marked")
		<-time.After(time.Hour)
	}
}

// overflow cannot be recovered from.
func overflow(n int) int {
	if n < 0 { // never: there is no stack for that
		return 0
	}
	return overflow(n+1) + 1
}

// end runs the child in dir. A signal is sent once it has marked.
func end(t *testing.T, dir, how string, signal syscall.Signal) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"="+dir, asEnd+"="+how)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if signal != 0 { // not SIGQUIT: shells make background processes ignore it
		line := make([]byte, 7)
		if _, err := out.Read(line); err != nil || string(line) != "marked\n" {
			t.Errorf("child says %q, %v", line, err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *Trail {
	t.Helper()
	trail, err := Open(dir, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = trail.Close() })
	return trail
}

// How a process ended can be told from what it leaves.
func TestEnds(t *testing.T) {
	for how, c := range map[string]struct {
		signal  syscall.Signal
		left    bool
		crashed string
	}{
		"overflow": {0, true, "fatal error in github.com/triggerd/triggerd/worker/internal/trail.overflow("},
		"panic":    {0, true, "panic: somewhere else"},
		"kill":     {syscall.SIGKILL, true, ""},
		"abort":    {syscall.SIGABRT, true, ""},
		"order":    {0, false, ""},
	} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			end(t, dir, how, c.signal)
			for range 2 { // whoever cannot tell anybody finds the same again
				trail := open(t, dir)
				left := trail.Left()
				if !c.left {
					if len(left) != 0 {
						t.Errorf("left %+v", left)
					}
					continue
				}
				if len(left) != 1 || left[0].Partition != 2 || left[0].Seq != 77 || left[0].Run != "childrun" || left[0].At.IsZero() {
					t.Fatalf("left %+v", left)
				}
				if left[0].Crashed != (c.crashed != "") || !strings.Contains(left[0].Text, c.crashed) || trail.Crash() != left[0].Text {
					t.Errorf("left %+v", left)
				}
			}
		})
	}
}

// Begin forgets what was left, and keeps the last words of the newest crashes.
func TestBeginForgets(t *testing.T) {
	dir := t.TempDir()
	var kept []string
	for range KeepCrashes + 2 {
		end(t, dir, "overflow", 0)
		trail := open(t, dir)
		if trail.Crash() == "" {
			t.Fatal("no crash")
		}
		name, err := trail.Begin("next")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(text, []byte("overflow(")) {
			t.Errorf("kept %.200s, %v", text, err)
		}
		kept = append(kept, name)
		if again := open(t, dir); len(again.Left()) != 0 || again.Crash() != "" {
			t.Errorf("after Begin there is left %+v, %q", again.Left(), again.Crash())
		}
	}
	there, err := filepath.Glob(filepath.Join(dir, "crash-*"))
	if err != nil || len(there) != KeepCrashes || there[KeepCrashes-1] != kept[len(kept)-1] {
		t.Errorf("kept are %v, %v", there, err)
	}
}

// Marks are told apart by run: what was left is under the name of the run that left it.
func TestMarksAreTheRunsOwn(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	if _, err := a.Begin("aaaa"); err != nil {
		t.Fatal(err)
	}
	a.Mark(0, 1<<40)
	a.Mark(3, 9)
	a.Clear(3)
	b := open(t, dir)
	if left := b.Left(); len(left) != 1 || left[0].Run != "aaaa" || left[0].Seq != 1<<40 || left[0].Crashed {
		t.Errorf("left %+v", left)
	}
}

// What is no file of breadcrumbs says nothing and does no harm.
func TestOtherFiles(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty":                     {},
		"of another kind":           bytes.Repeat([]byte("x"), headerSize+4*slotSize),
		"of a later format":         append([]byte("triggerd breadcrumbs 2\n"), make([]byte, headerSize+4*slotSize-23)...),
		"of more partitions":        append([]byte(magic), bytes.Repeat([]byte{1}, headerSize+8*slotSize-len(magic))...),
		"cut off within the header": []byte(magic),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, crumbsFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if trail := open(t, dir); len(trail.Left()) != 0 {
			t.Errorf("%s: left %+v", name, trail.Left())
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nowhere"), 4); err == nil {
		t.Error("opened a directory that is not there")
	}
}

// Partitions mark at once.
func TestMarksAtOnce(t *testing.T) {
	trail := open(t, t.TempDir())
	if _, err := trail.Begin("run"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for seq := range uint64(1000) {
				trail.Mark(p, seq+1)
				trail.Clear(p)
			}
		})
	}
	wg.Wait()
}

func BenchmarkMark(b *testing.B) {
	trail, err := Open(b.TempDir(), 4)
	if err != nil {
		b.Fatal(err)
	}
	defer trail.Close()
	if _, err := trail.Begin("bench"); err != nil {
		b.Fatal(err)
	}
	for seq := uint64(1); b.Loop(); seq++ {
		trail.Mark(2, seq)
		trail.Clear(2)
	}
}
