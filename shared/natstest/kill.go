package natstest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Kill stops the server as kill -9 would, seen from outside: connections break, and the next Boot finds the files as they
// were in the middle of running, without what a clean stop writes. Everything that was acknowledged is in them; what was
// under way may or may not be.
//
// A server in the test's own process cannot be killed. So all clients are cut off and kept out first (from here on nobody
// gets an acknowledgement), the files are copied from under the running server, and the copy becomes the directory.
func (s *Server) Kill() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		s.t.Fatal("kill nats-server: it is not running")
	}
	closed := s.opts.Clone()
	closed.Port = s.port
	closed.MaxConn = -1
	if err := s.srv.ReloadOptions(closed); err != nil {
		s.t.Fatalf("keep clients out: %v", err)
	}
	s.image++
	image := fmt.Sprintf("%s-image-%d", filepath.Clean(s.dir), s.image)
	if err := copyTree(s.dir, image); err != nil {
		s.t.Fatalf("copy the server's files: %v", err)
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv, s.dir = nil, image
}

// copyTree copies a directory that is being written to. Files that vanish meanwhile are left out.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}
