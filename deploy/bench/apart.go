package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// Servers to measure.
const (
	emptyEcho  = "echo"      // an empty handler, with the same answer
	oneMessage = "jetstream" // one synced message a request
	whole      = "triggerd"
)

// serveVerb is what the program is told to be one of them.
const serveVerb = "serve"

// ServeConfig is which server to be.
type ServeConfig struct {
	Server     string
	Partitions int
	Applying   bool
	Dir        string
}

// RegisterFlags adds the flags and sets the defaults.
func (c *ServeConfig) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Server, "server", whole, emptyEcho+", "+oneMessage+" or "+whole)
	fs.IntVar(&c.Partitions, "partitions", claimsPartitions, "`number` of partitions of "+whole)
	fs.BoolVar(&c.Applying, "applying", false, "with a worker of "+whole+" that applies and emits")
	fs.StringVar(&c.Dir, "dir", "", "`directory` for its data")
}

func (c *ServeConfig) args() []string {
	return []string{serveVerb, "-server", c.Server, "-partitions", strconv.Itoa(c.Partitions), "-applying=" + strconv.FormatBool(c.Applying), "-dir", c.Dir}
}

// Validate joins all faults.
func (c *ServeConfig) Validate() error {
	var f faults
	f.add(c.Server != emptyEcho && c.Server != oneMessage && c.Server != whole, "-server is %q, not %s, %s or %s", c.Server, emptyEcho, oneMessage, whole)
	f.add(c.Partitions < 1, "-partitions is %d, under 1", c.Partitions)
	f.add(c.Dir == "", "-dir is missing")
	return errors.Join(f...)
}

func (c *ServeConfig) start(ctx context.Context) (*target, error) {
	switch c.Server {
	case emptyEcho:
		return startEcho()
	case oneMessage:
		return startJetStream(ctx, c.Dir)
	}
	return startTriggerd(ctx, c.Dir, c.Partitions, c.Applying)
}

// Questions to a server that runs apart, each a line on its standard input; the answer is a look.
const (
	askLook    = "look"
	askCollect = "collect" // after a collection
)

// look is one look at a server's process.
type look struct {
	At      time.Time
	Mallocs uint64 // since it began
	Bytes   uint64 // allocated since it began
	Heap    uint64 // bytes in use and not collected yet
	RSS     uint64 // bytes in memory
	Own     uint64 // of those, not mapped from files
	Applied float64
	Oldest  time.Duration // age of the oldest record that is not applied
}

// Serve is one of the servers that are measured, until standard input ends. It says on w where it listens, and answers what it is asked.
func Serve(ctx context.Context, cfg ServeConfig, w io.Writer) (err error) {
	t, err := cfg.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	say := json.NewEncoder(w)
	if err := say.Encode(child{Addr: t.addr, Token: t.token}); err != nil {
		return err
	}
	asked := bufio.NewScanner(os.Stdin)
	for asked.Scan() {
		if asked.Text() == askCollect {
			runtime.GC()
			runtime.GC() // what finalizers and pools held
		}
		if err := say.Encode(t.look()); err != nil {
			return err
		}
	}
	return asked.Err()
}

func (t *target) look() look {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	l := look{At: time.Now(), Mallocs: m.Mallocs, Bytes: m.TotalAlloc, Heap: m.HeapAlloc}
	l.RSS, l.Own = resident()
	if t.metrics != nil {
		r := gather(t.metrics)
		l.At, l.Applied, l.Oldest = r.at, r.applied, r.oldest
	}
	return l
}

// child is a server that runs as a process of its own.
type child struct {
	Addr, Token string
	in          io.WriteCloser
	out         *json.Decoder
}

// ask is for one goroutine at a time.
func (s *child) ask(what string) (l look, err error) {
	if _, err := fmt.Fprintln(s.in, what); err != nil {
		return l, fmt.Errorf("ask the server: %w", err)
	}
	if err := s.out.Decode(&l); err != nil {
		return l, fmt.Errorf("the server does not answer: %w", err)
	}
	return l, nil
}

// apart runs do with a server in a process of its own, and in a fresh directory below parent. When ctx ends it is killed.
func apart(ctx context.Context, parent string, cfg ServeConfig, do func(*child) error) (err error) {
	if cfg.Dir, err = os.MkdirTemp(parent, "triggerd-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, cfg.args()...)
	cmd.Stderr = os.Stderr
	s := &child{}
	if s.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer func() {
		s.in.Close() // ends it
		if ended := cmd.Wait(); ended != nil {
			err = errors.Join(err, fmt.Errorf("server %s: %w", cfg.Server, ended))
		}
	}()
	s.out = json.NewDecoder(out)
	if err := s.out.Decode(s); err != nil {
		return fmt.Errorf("the server does not say where it listens: %w", err)
	}
	return do(s)
}
