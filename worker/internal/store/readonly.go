package store

import (
	"fmt"
	"os"
)

// OpenReadOnly opens a file for looking into it, and changes nothing: a file that is not there is an error. Whoever looks shares the file with others who
// do, and not with a worker: then it is ErrLocked. Errors are those of Open. Of the Store's methods only those that read may be called.
func OpenReadOnly(path string) (*Store, error) {
	opts := Options{readOnly: true}.withDefaults()
	info, err := os.Stat(path)
	if err == nil && info.Size() < minSize { // bbolt would begin a new file in an empty one
		err = corrupt("it has %d bytes, fewer than any whole file", info.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db, err := openBolt(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := newStore(&file{db: db}, opts)
	if err := s.load(); err != nil {
		_ = s.Close() // nothing was written
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}
