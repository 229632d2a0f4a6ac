package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Defaults and bounds of Config.
const (
	DefaultRate           = 32 << 20 // bytes a second, compressed
	DefaultShare          = 0.2
	DefaultMaxBytes       = 64 << 30
	DefaultRequestTimeout = 10 * time.Second

	// MaxChunkBytes is also the default. A chunk is read back as base64 in one message, which has to stay under the server's usual limit of
	// 1 MiB.
	MaxChunkBytes = 512 << 10
)

// Config of a process's snapshots. Zero values stand for the defaults.
type Config struct {
	Rate           int64         // compressed bytes a second that are written and read while making one
	Share          float64       // of one processor that making one takes; over 0, at most 1
	MaxBytes       int64         // largest file that is made a snapshot of, or restored
	ChunkBytes     int           // of one message; at most MaxChunkBytes
	RequestTimeout time.Duration // of one request to the broker; a chunk is one
}

func (c Config) withDefaults() Config {
	c.Rate = orDefault(c.Rate, DefaultRate)
	c.Share = min(orDefault(c.Share, DefaultShare), 1)
	c.MaxBytes = orDefault(c.MaxBytes, DefaultMaxBytes)
	c.ChunkBytes = min(orDefault(c.ChunkBytes, MaxChunkBytes), MaxChunkBytes)
	c.RequestTimeout = orDefault(c.RequestTimeout, DefaultRequestTimeout)
	return c
}

func orDefault[T int | int64 | float64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Deps is what snapshots work with. Broker is mandatory.
type Deps struct {
	Broker  *broker.Broker
	Logger  *slog.Logger     // nil: silent
	Metrics *Metrics         // nil: not shown
	Now     func() time.Time // the wall clock, for when a snapshot was made; nil = time.Now

	// Failpoint, if set, is called at each step of Make. An error aborts it as a crash would: nothing is tidied up. For tests.
	Failpoint func(step string) error
}

// Errors that callers tell apart. Each is wrapped with what was being done.
var (
	// ErrNothingNew: the newest snapshot holds the checkpoint already, or a later one.
	ErrNothingNew = errors.New("nothing new since the newest snapshot")
	// ErrRaced: somebody else made a snapshot meanwhile.
	ErrRaced = errors.New("another snapshot was made meanwhile")
	// ErrDamaged: a snapshot is not there, or not what its entry says. Waiting does not help.
	ErrDamaged = errors.New("snapshot is damaged")
	// ErrAborted is what a Failpoint leads to.
	ErrAborted = errors.New("aborted by failpoint")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// Shelves are the snapshots of a process's partitions.
type Shelves struct {
	cfg    Config
	deps   Deps
	broker *broker.Broker
	pace   *throttle
	turn   chan struct{} // held by the Make that runs
}

// New does not touch the broker.
func New(cfg Config, deps Deps) *Shelves {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if deps.Metrics == nil {
		deps.Metrics = NewMetrics(nil)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	cfg = cfg.withDefaults()
	return &Shelves{cfg: cfg, deps: deps, broker: deps.Broker, pace: &throttle{rate: cfg.Rate}, turn: make(chan struct{}, 1)}
}

// Shelf is one partition's snapshots.
type Shelf struct {
	*Shelves
	p    int
	path string
	log  *slog.Logger
}

// Of is the shelf of partition p, whose file is path. Temporary files are made beside it.
func (s *Shelves) Of(p int, path string) *Shelf {
	shelf := &Shelf{Shelves: s, p: p, path: path, log: s.deps.Logger.With("partition", p)}
	s.deps.Metrics.attach(shelf.label())
	return shelf
}

func (s *Shelf) label() string { return strconv.Itoa(s.p) }

// Temporary files, beside the partition's.
const (
	copySuffix    = ".copy"
	restoreSuffix = ".restore"
)

// Tidy removes what a crash left behind beside the partition's file.
func (s *Shelf) Tidy() {
	for _, suffix := range []string{copySuffix, restoreSuffix} {
		s.discard(s.path + suffix)
	}
}

func (s *Shelf) discard(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("temporary file was not removed", "path", path, "cause", err)
	}
}

// List reads from its leader which snapshots there are, newest first. None, and no error, is definite.
func (s *Shelf) List(ctx context.Context) ([]Entry, error) {
	entries, _, err := s.look(ctx)
	return entries, err
}

func (s *Shelf) look(ctx context.Context) (entries []Entry, revision uint64, err error) {
	value, revision, err := s.broker.KVGet(ctx, broker.BucketSnapshots, strconv.Itoa(s.p))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err == nil {
		entries, err = decodePointer(value, s.p)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read pointer to the snapshots of partition %d: %w", s.p, err)
	}
	return entries, revision, nil
}

// Trim drops the part of the log that none of the kept snapshots needs: what is before the oldest one's message, which stays, because it
// proves that the log is the one of the snapshot. While fewer than two are kept nothing is dropped: if the only one turns out
// to be damaged, the log is all there is. It returns where the log may begin now; 0: untouched.
func (s *Shelf) Trim(ctx context.Context, kept []Entry) (seq uint64, err error) {
	logID := s.broker.LogID(s.p)
	if len(kept) < Kept || slices.ContainsFunc(kept, func(e Entry) bool { return e.LogID != logID }) {
		return 0, nil
	}
	if err := s.fail(StepTrim); err != nil {
		return 0, err
	}
	oldest := slices.MinFunc(kept, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	if err = s.broker.CheckLog(ctx, s.p); err == nil {
		err = s.drop(ctx, oldest)
	}
	if err != nil {
		s.deps.Metrics.failed(s.label(), StepTrim)
		return 0, fmt.Errorf("trim the log of partition %d: %w", s.p, err)
	}
	return oldest.Seq, nil
}

// errOtherLog: the log was restored, and goes on with other messages than those that the snapshot holds. Nobody has applied them.
var errOtherLog = errors.New("the message at which a snapshot stands is not the one in the log")

// drop trims up to the message at which a snapshot stands, if that is the one in the log, so that what is before it is what the snapshot holds.
func (s *Shelf) drop(ctx context.Context, e Entry) error {
	first, _, err := s.broker.Extent(ctx, s.p)
	if err != nil || e.Seq <= first {
		return err
	}
	msg, err := s.broker.Message(ctx, s.p, e.Seq)
	if err != nil {
		return err
	}
	if msg.Time.UnixNano() != e.Time || xxhash.Sum64(msg.Data) != e.Hash {
		return fmt.Errorf("%w: message %d, snapshot %s", errOtherLog, e.Seq, e.Object)
	}
	return s.broker.Trim(ctx, s.p, e.Seq)
}
