package chaos

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/natstest/ports"
)

// server is one nats-server of the cluster.
type server struct {
	*process
	client  string // host:port
	monitor string
	cluster string
}

// startServers starts the cluster as it is configured for production, permissions of the roles included, and connects to it.
func (f *Fleet) startServers(ctx context.Context) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	public, err := f.makeRoles(ctx, root)
	if err != nil {
		return err
	}
	var routes []string
	for i := range servers {
		s, err := f.server(i, filepath.Join(root, "deploy", "nats", "cluster.conf"))
		if err != nil {
			return err
		}
		f.nats = append(f.nats, s)
		routes = append(routes, "nats://"+s.cluster)
	}
	for _, s := range f.nats {
		s.env = append(public, "TRIGGERD_NATS_NAME="+s.name, "TRIGGERD_NATS_LISTEN="+s.client, "TRIGGERD_NATS_CLUSTER="+s.cluster,
			"TRIGGERD_NATS_ROUTES=["+strings.Join(routes, ", ")+"]", "TRIGGERD_NATS_STORE="+filepath.Join(f.cfg.Dir, s.name))
		if err := s.start(); err != nil {
			return err
		}
	}
	for _, s := range f.nats {
		if err := s.awaitHealthy(ctx); err != nil {
			return err
		}
	}
	return f.connect()
}

// server is one that is not started yet. It tells nobody of the others, so that who is to go through a proxy does.
func (f *Fleet) server(i int, config string) (*server, error) {
	s := &server{}
	var err error
	for _, addr := range []*string{&s.client, &s.monitor, &s.cluster} {
		if *addr, err = f.reserve(); err != nil {
			return nil, err
		}
	}
	_, port, err := net.SplitHostPort(s.monitor)
	if err != nil {
		return nil, err
	}
	s.process, err = f.member(fmt.Sprintf("nats-%d", i), f.cfg.Binaries.NATS, "-c", config, "--no_advertise", "-m", port)
	return s, err
}

// reserve is an address that a member is alone to have, up or down, until the run ends.
func (f *Fleet) reserve() (string, error) {
	addr, release, err := ports.Reserve()
	if err == nil {
		f.release = append(f.release, release)
	}
	return addr, err
}

// makeRoles makes the keys of the roles. It returns what the servers must know of them, as an environment.
func (f *Fleet) makeRoles(ctx context.Context, root string) (public []string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "deploy", "nats", "keys"), f.rolesDir())
	cmd.Dir, cmd.Env = root, append(os.Environ(), "NK="+f.cfg.Binaries.NK)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make keys of the roles: %w: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(f.rolesDir(), "nats.env"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			public = append(public, name)
		}
	}
	return public, nil
}

func (f *Fleet) rolesDir() string { return filepath.Join(f.cfg.Dir, "roles") }

// role is the file with the key of one.
func (f *Fleet) role(name string) string { return filepath.Join(f.rolesDir(), name+".nk") }

// connect opens the run's own connection, as an operator.
func (f *Fleet) connect() error {
	operator, err := nats.NkeyOptionFromSeed(f.role("operator"))
	if err != nil {
		return err
	}
	f.conn, err = nats.Connect(f.url(), operator, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // the default one prints
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	f.js, err = jetstream.New(f.conn)
	return err
}

// url is the broker's address.
func (f *Fleet) url() string {
	var urls []string
	for _, s := range f.nats {
		urls = append(urls, "nats://"+s.client)
	}
	return strings.Join(urls, ",")
}

// awaitHealthy waits until a server is connected to the others and its streams are up to date.
func (s *server) awaitHealthy(ctx context.Context) error {
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return poll(ctx, s.name+" to be healthy", func() bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.monitor+"/healthz", nil)
		if err != nil {
			return false
		}
		resp, err := once.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// leader is the server that leads a stream.
func (f *Fleet) leader(ctx context.Context, stream string) (leader *server, err error) {
	err = poll(ctx, "a leader of "+stream, func() bool {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s, err := f.js.Stream(asking, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for _, candidate := range f.nats {
			if candidate.name == s.CachedInfo().Cluster.Leader {
				leader = candidate
			}
		}
		return leader != nil
	})
	return leader, err
}
