//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package trail

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
)

// crumbs is the file, mapped.
type crumbs struct {
	file *os.File
	mem  []byte
}

func openCrumbs(path string, size int) (*crumbs, error) {
	f, err := sized(path, size)
	if err != nil {
		return nil, err
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &crumbs{file: f, mem: mem}, nil
}

func (c *crumbs) run() (string, bool) { return runOf(c.mem[:headerSize]) }

func (c *crumbs) get(p int) uint64 { return binary.LittleEndian.Uint64(c.mem[offset(p):]) }

// set is one store of a word: the slots are aligned.
func (c *crumbs) set(p int, seq uint64) { binary.LittleEndian.PutUint64(c.mem[offset(p):], seq) }

// begin clears the slots before the name changes: marks of one run never stand under the name of another.
func (c *crumbs) begin(run string) error {
	clear(c.mem[headerSize:])
	copy(c.mem, headerOf(run))
	return nil
}

func (c *crumbs) close() error { return errors.Join(syscall.Munmap(c.mem), c.file.Close()) }
