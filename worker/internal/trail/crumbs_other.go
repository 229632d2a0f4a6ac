//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package trail

import (
	"encoding/binary"
	"os"
)

// crumbs is the file, written to.
type crumbs struct{ file *os.File }

func openCrumbs(path string, size int) (*crumbs, error) {
	f, err := sized(path, size)
	if err != nil {
		return nil, err
	}
	return &crumbs{file: f}, nil
}

func (c *crumbs) run() (string, bool) {
	header := make([]byte, headerSize)
	if _, err := c.file.ReadAt(header, 0); err != nil {
		return "", false
	}
	return runOf(header)
}

func (c *crumbs) get(p int) uint64 {
	slot := make([]byte, slotSize)
	if _, err := c.file.ReadAt(slot, int64(offset(p))); err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(slot)
}

// set is best effort: without a breadcrumb less is known, and nothing else is wrong.
func (c *crumbs) set(p int, seq uint64) {
	_, _ = c.file.WriteAt(binary.LittleEndian.AppendUint64(nil, seq), int64(offset(p)))
}

// begin clears the slots before the name changes: marks of one run never stand under the name of another.
func (c *crumbs) begin(run string) error {
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	if _, err := c.file.WriteAt(make([]byte, info.Size()-headerSize), headerSize); err != nil {
		return err
	}
	_, err = c.file.WriteAt(headerOf(run), 0)
	return err
}

func (c *crumbs) close() error { return c.file.Close() }
