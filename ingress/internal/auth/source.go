package auth

import (
	"context"
	"os"
)

// maxKeysDocument bounds what is read of a key set, in bytes.
const maxKeysDocument = 1 << 20

// source is where the keys come from. It is used by one goroutine at a time.
type source interface {
	// fetch returns the newest document; changed is false, and data nil, if that is the one of the last call without an error.
	fetch(ctx context.Context) (data []byte, changed bool, err error)
	// String names the source, without anything secret.
	String() string
}

// keysFile is a source that is a file.
type keysFile struct {
	path string
	read os.FileInfo // of what was read last
}

func (f *keysFile) String() string { return f.path }

func (f *keysFile) fetch(context.Context) (data []byte, changed bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, false, err
	}
	if sameVersion(f.read, info) {
		return nil, false, nil
	}
	if data, err = readLimited(f.path, maxKeysDocument); err != nil {
		return nil, false, err
	}
	f.read = info
	return data, true, nil
}

// sameVersion tells one state of a file from another without reading it.
func sameVersion(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
