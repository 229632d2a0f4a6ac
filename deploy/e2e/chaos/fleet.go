package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Sizes of a fleet. There may be more workers than run at first.
const (
	servers      = 3
	ingresses    = 2
	maxWorkers   = 4
	usualWorkers = 2

	tenant = "chaos" // the account of the load
)

// Config is how a deployment is run.
type Config struct {
	Dir        string // for data and logs
	Binaries   Binaries
	Partitions int
	Users      int // idle ones, who are registered before anything else
	MemberTTL  time.Duration
	Patience   time.Duration                                         // for anything that is waited for
	CutFor     time.Duration                                         // how long an ingress is kept from the broker
	Settle     bool                                                  // wait for standbys after whatever moves partitions
	Log        func(format string, args ...any)                      // may be called at any time until Close returns
	Proxy      func(target string) (Proxy, error)                    // puts a proxy in front of a nats-server
	Backup     func(conn *nats.Conn, stream string) (restore func()) // as the nats command makes one; restore makes the stream, which must not be there
}

// Proxy is what a TCP proxy must be able to do.
type Proxy interface {
	Addr() string
	Refuse(yes bool) // closes new connections
	Stall()          // keeps back what is sent on the connections that there are
	Flow()           // delivers that
	CutClients()     // breaks the clients' side of all connections; what they sent and is kept back can still flow
}

// Fleet is a running deployment.
type Fleet struct {
	cfg        Config
	token      string
	nats       []*server
	proxies    []Proxy // one for each server; the last ingress is behind them
	ingress    []*process
	workers    []*process
	conn       *nats.Conn
	js         jetstream.JetStream
	answers    *stalls // of the partitions' owners
	machine    *stalls // of an ingress that asks nobody for its answer: what the machine itself does, as if it were a partition
	accepts    *stalls // of the load
	measured   measurements
	stop       context.CancelFunc
	release    []func() // the members' addresses
	background sync.WaitGroup

	cuts []*Cut // of logs, so far

	mu     sync.Mutex
	faults []string
}

// Start starts everything and waits until it is ready.
func Start(ctx context.Context, cfg Config) (_ *Fleet, err error) {
	f := &Fleet{cfg: cfg, answers: newStalls(cfg.Partitions), accepts: newStalls(cfg.Partitions), machine: newStalls(1), measured: measurements{}}
	running, stop := context.WithCancel(ctx)
	f.stop = stop
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	ready, cancel := f.patient(ctx)
	defer cancel()
	for _, step := range []func(context.Context) error{f.startServers, f.makeKeys, f.makeMembers, f.startMembers, f.gather} {
		if err := step(ready); err != nil {
			return nil, err
		}
	}
	return f, f.startProbes(running)
}

func (f *Fleet) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, f.cfg.Patience)
}

// makeKeys makes the keys of the ingresses and a token. It is issued hours ago, so that an ingress whose clock is behind takes it.
func (f *Fleet) makeKeys(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, f.cfg.Binaries.Ingress, "keys", "-dir", f.keysDir()).CombinedOutput(); err != nil {
		return fmt.Errorf("make keys: %w: %s", err, out)
	}
	clock, err := newClock(filepath.Join(f.cfg.Dir, "token.clock"))
	if err != nil {
		return err
	}
	if err := clock.Set(-6 * time.Hour); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, f.cfg.Binaries.Ingress, "token", "-signing-key", filepath.Join(f.keysDir(), "signing.pem"),
		"-account", tenant, "-scope", "trigger runtime", "-ttl", "48h")
	cmd.Env = append(os.Environ(), clock.environ())
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("issue token: %w", err)
	}
	f.token = strings.TrimSpace(string(out))
	return nil
}

func (f *Fleet) keysDir() string { return filepath.Join(f.cfg.Dir, "keys") }

// duplicateWindow is how long the broker itself knows a batch: so short that copies get into the logs, where the machine must know them, and longer than a
// caller waits, who would be told the id of a copy.
const duplicateWindow = 1500 * time.Millisecond

// deployment is what all members are told.
func (f *Fleet) deployment() []string {
	return []string{"-admin-addr", "127.0.0.1:0", "-log-format", "json", "-partitions", fmt.Sprint(f.cfg.Partitions), "-replicas", "3",
		"-triggers-max-bytes", "512MiB", "-events-max-bytes", "512MiB", "-snapshots-max-bytes", "512MiB",
		"-member-ttl", f.cfg.MemberTTL.String(), "-outcomes-keep", "24h",
		"-duplicate-window", duplicateWindow.String()}
}

// makeMembers makes the processes around the broker.
func (f *Fleet) makeMembers(context.Context) error {
	for i := range ingresses {
		addr, err := f.reserve()
		if err != nil {
			return err
		}
		url := f.url()
		if i == ingresses-1 {
			if url, err = f.throughProxies(); err != nil {
				return err
			}
		}
		args := append(f.deployment(), "-nats-url", url, "-nats-nkey", f.role("ingress"), "-http-addr", addr, "-keys-file", filepath.Join(f.keysDir(), "jwks.json"))
		p, err := f.member(fmt.Sprintf("ingress-%d", i), f.cfg.Binaries.Ingress, args...)
		if err != nil {
			return err
		}
		f.ingress = append(f.ingress, p)
	}
	for i := range maxWorkers {
		name := fmt.Sprintf("worker-%d", i)
		args := append(f.deployment(), "-nats-url", f.url(), "-nats-nkey", f.role("worker"), "-data-dir", filepath.Join(f.cfg.Dir, name),
			"-snapshot-every", f.snapshotEvery().String(), "-digest-every", "500ms", "-halt-after", "5s")
		if i%2 == 1 {
			args = append(args, hasty...)
		}
		p, err := f.member(name, f.cfg.Binaries.Worker, args...)
		if err != nil {
			return err
		}
		f.workers = append(f.workers, p)
	}
	return nil
}

// snapshotEvery is so often that snapshots and trimmed logs are in the way of everything, but no more than a machine of this size can make of so many users.
func (f *Fleet) snapshotEvery() time.Duration {
	return max(time.Second, time.Duration(f.cfg.Users/snapshotUsers)*time.Second)
}

// snapshotUsers is how many users a second all snapshots together may be of.
const snapshotUsers = 50_000

// hasty makes every other worker write its checkpoints much more often than it emits: so that a kill would find a file that is ahead of the events,
// if the worker let it.
var hasty = []string{"-checkpoint-every", "10ms", "-emit-every", "100ms"}

func (f *Fleet) member(name, binary string, args ...string) (*process, error) {
	p, err := newProcess(f.cfg.Dir, name, binary, args...)
	if err == nil {
		p.ended = func(p *process, state *os.ProcessState) { f.fault("%s ended by itself: %v", p.name, state) }
	}
	return p, err
}

// startMembers starts the usual ones, all at once: one of the workers makes the deployment.
func (f *Fleet) startMembers(ctx context.Context) error {
	members := append(append([]*process(nil), f.workers[:usualWorkers]...), f.ingress...)
	for _, p := range members {
		if err := p.start(); err != nil {
			return err
		}
	}
	return awaitReady(ctx, members...)
}

func awaitReady(ctx context.Context, members ...*process) error {
	for _, p := range members {
		if err := p.awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// throughProxies is the broker's address by way of proxies.
func (f *Fleet) throughProxies() (string, error) {
	var urls []string
	for _, s := range f.nats {
		p, err := f.cfg.Proxy(s.client)
		if err != nil {
			return "", err
		}
		f.proxies = append(f.proxies, p)
		urls = append(urls, "nats://"+p.Addr())
	}
	return strings.Join(urls, ","), nil
}

// addrs are the public addresses of the ingresses.
func (f *Fleet) addrs() (addrs []string) {
	for _, p := range f.ingress {
		addrs = append(addrs, p.public())
	}
	return addrs
}

// public is the address that an ingress was told to listen on.
func (p *process) public() string {
	i := slices.Index(p.args, "-http-addr")
	return p.args[i+1]
}

// processes are all that there are.
func (f *Fleet) processes() (all []*process) {
	for _, s := range f.nats {
		all = append(all, s.process)
	}
	return append(append(all, f.ingress...), f.workers...)
}

// fault notes what should not have happened.
func (f *Fleet) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

// Faults are what went wrong in the run itself.
func (f *Fleet) Faults() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.faults...)
}

// Close kills everything.
func (f *Fleet) Close() error {
	f.stop()
	f.background.Wait()
	if f.conn != nil {
		f.conn.Close()
	}
	ctx, cancel := f.patient(context.Background())
	defer cancel()
	var faults []error
	for _, p := range f.processes() {
		faults = append(faults, p.kill(ctx))
	}
	for _, release := range f.release {
		release()
	}
	return errors.Join(faults...)
}
