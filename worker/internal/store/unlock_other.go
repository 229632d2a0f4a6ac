//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package store

import "os"

// abandon closes a file that bbolt opened and then panicked over.
func abandon(f *os.File) error { return f.Close() }
