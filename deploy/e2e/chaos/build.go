package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Binaries are the programs under test, as they are shipped but for their clock.
type Binaries struct {
	Ingress, Worker, NATS string
	NK                    string // makes keys
}

// packages of the binaries. The server and its keys' maker are those that go.mod names.
var packages = []string{"./ingress/cmd/ingress", "./worker/cmd/worker", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nkeys/nk"}

// Build makes the binaries in dir. The standard library is compiled anew for them, once: the build cache keeps it.
func Build(ctx context.Context, dir string) (Binaries, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return Binaries{}, err
	}
	goroot, err := goTool(ctx, root, "env", "GOROOT")
	if err != nil {
		return Binaries{}, err
	}
	// By another name, because nothing below the module cache may be replaced, and a toolchain that was downloaded lies there.
	alias := filepath.Join(dir, "goroot")
	if err := os.Symlink(goroot, alias); err != nil {
		return Binaries{}, err
	}
	overlay, err := writeOverlay(dir, alias)
	if err != nil {
		return Binaries{}, fmt.Errorf("replace the clock: %w", err)
	}
	args := append([]string{"build", "-overlay", overlay, "-o", dir + string(filepath.Separator)}, packages...)
	cmd := exec.CommandContext(ctx, filepath.Join(goroot, "bin", "go"), args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOROOT="+alias)
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	return Binaries{Ingress: in("ingress"), Worker: in("worker"), NATS: in("nats-server"), NK: in("nk")}, nil
}

// moduleRoot is the directory of this module.
func moduleRoot(ctx context.Context) (string, error) {
	return goTool(ctx, "", "list", "-m", "-f", "{{.Dir}}", "github.com/triggerd/triggerd")
}

// goTool runs the go command in a directory and returns what it printed.
func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// What is put into time.Now, and where.
const (
	reading = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	shifted = "\tsec, nsec, mono := runtimeNow()\n\tsec, nsec = shiftWall(sec, nsec)\n\tif mono == 0 {"
)

// shiftSource is the file that package time gets. It reads eight bytes that another process writes, without a system call.
const shiftSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// wallShift is how many nanoseconds the wall clock is ahead: a file that is mapped.
var wallShift = mapShift()

func mapShift() *int64 {
	name, found := syscall.Getenv("` + clockVariable + `")
	if !found {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("open clock " + name + ": " + err.Error())
	}
	data, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map clock " + name + ": " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&data[0]))
}

func shiftWall(sec int64, nsec int32) (int64, int32) {
	shift := atomic.LoadInt64(wallShift)
	if shift == 0 {
		return sec, nsec
	}
	t := sec*1e9 + int64(nsec) + shift
	return t / 1e9, int32(t % 1e9)
}
`

// writeOverlay writes what replaces files of the standard library, and returns the overlay's name.
func writeOverlay(dir, goroot string) (string, error) {
	original := filepath.Join(goroot, "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if bytes.Count(source, []byte(reading)) != 1 {
		return "", errors.New("time.Now of this Go is not the known one: look at it, and adapt what is put in")
	}
	now, shift, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "shift.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {
		original: now,
		filepath.Join(goroot, "src", "time", "wall_shift.go"): shift,
	}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(
		os.WriteFile(now, bytes.Replace(source, []byte(reading), []byte(shifted), 1), 0o644),
		os.WriteFile(shift, []byte(shiftSource), 0o644),
		os.WriteFile(overlay, replace, 0o644))
}
