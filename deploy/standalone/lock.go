package standalone

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockFile is in the data directory. It stays there; the lock on it ends with the process, however that ends.
const lockFile = "lock"

// errInUse: another process, or another Standalone of this one, has the directory.
var errInUse = errors.New("data directory is in use")

// dirLock is a held lock.
type dirLock struct{ file *os.File }

// lockDir makes dir if need be and locks it for this process. The broker takes no lock of its own, and two on one directory would
// destroy it.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by %s", errInUse, dir, holder(file))
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if err := sign(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("sign lock of data directory: %w", err)
	}
	return &dirLock{file: file}, nil
}

// sign leaves our process id for whoever is refused.
func sign(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

func holder(file *os.File) string {
	const maxPid = 32
	text, err := io.ReadAll(io.LimitReader(file, maxPid))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}

// release gives the directory free.
func (l *dirLock) release() { l.file.Close() }
