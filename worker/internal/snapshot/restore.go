package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/triggerd/triggerd/worker/internal/store"
)

// ErrTooLarge: the snapshot is over Config.MaxBytes.
var ErrTooLarge = errors.New("snapshot is larger than is allowed here")

// Restore makes the partition's file of a snapshot, taking the place of the one that is there, which must not be open. The file is whole and
// checked, and on disk, before it gets its name: whenever Restore ends, there is the old file or the new one.
//
// ErrDamaged says that this snapshot will never be one; store.ErrVersion that a newer triggerd made it; other errors that it could not be read
// or written now.
func (s *Shelf) Restore(ctx context.Context, e Entry) error {
	begun := time.Now()
	err := s.restore(ctx, &e)
	s.deps.Metrics.restored(s.label(), time.Since(begun), e.Bytes, err)
	if err != nil {
		return fmt.Errorf("restore snapshot %s: %w", e.Object, err)
	}
	return nil
}

func (s *Shelf) restore(ctx context.Context, e *Entry) (err error) {
	if e.Bytes > s.cfg.MaxBytes {
		return fmt.Errorf("%w: it has %d bytes, the limit is %d: raise it", ErrTooLarge, e.Bytes, s.cfg.MaxBytes)
	}
	unfinished := s.path + restoreSuffix
	defer func() {
		if err != nil {
			s.discard(unfinished)
		}
	}()
	if err := s.download(ctx, e, unfinished); err != nil {
		return err
	}
	if err := s.verify(ctx.Err, unfinished, e); errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrForeign) {
		return damaged("%v", err)
	} else if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(unfinished, s.path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(s.path))
}

// download writes the file of a snapshot and makes it durable.
func (s *Shelf) download(ctx context.Context, e *Entry, path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := s.fetch(ctx, e, file, nil, nil); err != nil {
		return err
	}
	return file.Sync()
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fetch reads a snapshot into w: never more than its entry says, and nil only if it is exactly that.
func (s *Shelf) fetch(ctx context.Context, e *Entry, w io.Writer, pace *throttle, work *duty) error {
	in, err := s.newReader(ctx, e, pace, work)
	if err != nil {
		return err
	}
	source := &faulty{r: in}
	dec, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer dec.Close()
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(w, sum), &resting{io.LimitReader(dec, e.Bytes+1), work}, make([]byte, 128<<10))
	switch {
	case source.err != nil: // what the decompressor makes of it says less
		return source.err
	case errors.As(err, new(*os.PathError)):
		return err
	case err != nil:
		return damaged("%v", err)
	case n != e.Bytes:
		return damaged("it decompresses to other than %d bytes", e.Bytes)
	case hex.EncodeToString(sum.Sum(nil)) != e.SHA256:
		return damaged("its checksum is another one")
	}
	return nil
}

// maxWindow is the most that a decompressor remembers, whatever the object asks for.
const maxWindow = 8 << 20

// faulty keeps the error of a reader.
type faulty struct {
	r   io.Reader
	err error
}

func (f *faulty) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
