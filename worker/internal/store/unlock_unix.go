//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package store

import (
	"errors"
	"os"
	"syscall"
)

// abandon closes a file that bbolt opened and then panicked over. Closing alone does not give the lock back, because
// the mapping, which nobody can undo any more, holds on to it.
func abandon(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
