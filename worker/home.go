package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// homeDir is below a worker's -data-dir.
const homeDir = "worker"

// homeFile is in the worker's directory. It holds the directory's name among the members, and the lock on it ends with the process,
// however that ends.
const homeFile = "home"

// errInUse: another process, or another Worker of this one, has the directory.
var errInUse = errors.New("another worker that runs has it: give each a -data-dir of its own, or end that one first; nothing was changed")

// home is a worker's directory, locked.
type home struct {
	dir  string
	name string // random, made once; letters and digits
	file *os.File
}

// openHome takes the worker's directory, which is <DataDir>/worker, or the first of <DataDir>/0/worker, <DataDir>/1/worker … that is free.
func (c *Config) openHome() (*home, error) {
	if c.DataHomes == 0 {
		return openHome(filepath.Join(c.DataDir, homeDir))
	}
	for i := range c.DataHomes {
		h, err := openHome(filepath.Join(c.DataDir, strconv.Itoa(i), homeDir))
		if !errors.Is(err, errInUse) {
			return h, err
		}
	}
	return nil, fmt.Errorf("take a directory below %s: %d other workers that run have all of them: raise -data-homes, or start fewer; nothing was changed", c.DataDir, c.DataHomes)
}

// lowestHome is the first directory that would be tried.
func (c *Config) lowestHome() string {
	if c.DataHomes == 0 {
		return filepath.Join(c.DataDir, homeDir)
	}
	return filepath.Join(c.DataDir, strconv.Itoa(0), homeDir)
}

// openHome makes dir if need be and locks it.
func openHome(dir string) (*home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make worker's directory (-data-dir): %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, homeFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open worker's directory (-data-dir): %w", err)
	}
	h := &home{dir: dir, file: file}
	if err := h.take(); err != nil {
		file.Close()
		return nil, fmt.Errorf("take worker's directory %s: %w", dir, err)
	}
	return h, nil
}

func (h *home) take() error {
	if err := lock(h.file); err != nil {
		return err
	}
	return h.learn()
}

// learn reads the name, or makes one up.
func (h *home) learn() error {
	const maxName = 64
	text, err := io.ReadAll(io.LimitReader(h.file, maxName))
	if err != nil {
		return fmt.Errorf("read its name: %w", err)
	}
	if h.name = strings.TrimSpace(string(text)); h.name != "" {
		return nil
	}
	h.name = newID()
	if _, err := h.file.WriteAt([]byte(h.name+"\n"), 0); err != nil {
		return fmt.Errorf("write its name: %w", err)
	}
	return nil
}

// close gives the directory free.
func (h *home) close() { h.file.Close() }

// newID is 16 random letters and digits.
func newID() string { return strings.ToLower(rand.Text()[:16]) }
