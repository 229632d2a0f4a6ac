package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// server is one nats-server of the cluster.
type server struct {
	*process
	client  string // host:port
	monitor string
	cluster string
}

const serverConfig = `server_name: %[1]s
listen: "%[2]s"
http: "%[3]s"
cluster {
  name: chaos
  listen: "%[4]s"
  no_advertise: true # so that who is to go through a proxy does
  routes: [%[5]s]
}
jetstream {
  store_dir: "%[6]s"
  sync_interval: always
  max_file_store: 1TB
  max_memory_store: 64MB
}
`

// Ports are below those that the system hands out for outgoing connections, so that a server that is away finds its own again.
const (
	lowestPort  = 15000
	highestPort = 30000
)

// freePort is an address that nobody listens on.
func freePort() (string, error) {
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(highestPort-lowestPort))
		if ln, err := net.Listen("tcp", addr); err == nil {
			return addr, ln.Close()
		}
	}
	return "", errors.New("find a free port: there is none")
}

// startServers configures and starts the cluster, and connects to it.
func (f *Fleet) startServers(ctx context.Context) error {
	var routes []string
	for i := range servers {
		s := &server{}
		for _, addr := range []*string{&s.client, &s.monitor, &s.cluster} {
			var err error
			if *addr, err = freePort(); err != nil {
				return err
			}
		}
		config := filepath.Join(f.cfg.Dir, fmt.Sprintf("nats-%d.conf", i))
		var err error
		if s.process, err = f.member(fmt.Sprintf("nats-%d", i), f.cfg.Binaries.NATS, "-c", config); err != nil {
			return err
		}
		f.nats = append(f.nats, s)
		routes = append(routes, `"nats://`+s.cluster+`"`)
	}
	for _, s := range f.nats {
		text := fmt.Sprintf(serverConfig, s.name, s.client, s.monitor, s.cluster, strings.Join(routes, ", "), filepath.Join(f.cfg.Dir, s.name))
		if err := os.WriteFile(filepath.Join(f.cfg.Dir, s.name+".conf"), []byte(text), 0o644); err != nil {
			return err
		}
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

// connect opens the run's own connection.
func (f *Fleet) connect() (err error) {
	f.conn, err = nats.Connect(f.url(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
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
