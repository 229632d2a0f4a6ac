package natstest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/natstest/ports"
)

// clusterSize is what is needed to go on without one.
const clusterSize = 3

// ClusterOption changes how StartCluster runs the servers.
type ClusterOption func(*Cluster)

// Config runs the servers with a configuration file, which is given all that differs between them, and env ("NAME=value"), by its
// environment: see deploy/nats/cluster.conf.
func Config(file string, env ...string) ClusterOption {
	return func(c *Cluster) { c.config, c.env = file, append(c.env, env...) }
}

// Members sets how many servers there are. Default 3.
func Members(n int) ClusterOption { return func(c *Cluster) { c.size = n } }

// LazyMember turns sync_interval: always off in one server. Not with Config.
func LazyMember(index int) ClusterOption {
	return func(c *Cluster) { c.lazy = append(c.lazy, index) }
}

// Cluster is several nats-servers, each a process of its own, so that it can be killed for real. They live at most as long as their test.
type Cluster struct {
	t      testing.TB
	size   int
	config string
	env    []string
	lazy   []int
	dir    string

	members []*Member
}

// StartCluster runs servers until the test ends, and waits until they form a cluster. The package's TestMain must call BeServer.
func StartCluster(t testing.TB, opts ...ClusterOption) *Cluster {
	t.Helper()
	c := &Cluster{t: t, size: clusterSize, dir: t.TempDir()}
	for _, o := range opts {
		o(c)
	}
	c.prepare()
	c.Boot()
	return c
}

func (c *Cluster) prepare() {
	c.t.Helper()
	var routes []string
	for i := range c.size {
		m := &Member{c: c, name: fmt.Sprintf("n%d", i+1), addr: FreeAddr(c.t), route: FreeAddr(c.t)}
		m.dir = filepath.Join(c.dir, m.name)
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			c.t.Fatal(err)
		}
		c.members = append(c.members, m)
		routes = append(routes, "nats://"+m.route)
		c.t.Cleanup(m.end)
	}
	for i, m := range c.members {
		m.config = c.configOf(i)
		m.env = slices.Concat([]string{
			"TRIGGERD_NATS_NAME=" + m.name,
			"TRIGGERD_NATS_LISTEN=" + m.addr,
			"TRIGGERD_NATS_CLUSTER=" + m.route,
			"TRIGGERD_NATS_ROUTES=[" + strings.Join(routes, ", ") + "]",
			"TRIGGERD_NATS_STORE=" + filepath.Join(m.dir, "store"),
		}, c.env)
	}
}

// configOf is the file of a member: the given one, or one that lets everybody do everything.
func (c *Cluster) configOf(i int) string {
	c.t.Helper()
	if c.config != "" {
		file, err := filepath.Abs(c.config)
		if err != nil {
			c.t.Fatal(err)
		}
		return file
	}
	sync := "always"
	if slices.Contains(c.lazy, i) {
		sync = "2m"
	}
	file := filepath.Join(c.dir, fmt.Sprintf("n%d.conf", i+1))
	if err := os.WriteFile(file, []byte(fmt.Sprintf(openCluster, sync)+openAccounts), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// openCluster is a cluster's configuration as in deploy/nats/cluster.conf, without authentication.
const openCluster = `
server_name: $TRIGGERD_NATS_NAME
listen: $TRIGGERD_NATS_LISTEN
cluster { name: natstest, listen: $TRIGGERD_NATS_CLUSTER, routes: $TRIGGERD_NATS_ROUTES }
jetstream { store_dir: $TRIGGERD_NATS_STORE, sync_interval: %s, max_file_store: 1TB, max_memory_store: 64MB }
`

// openAccounts let everybody do everything, and ask the servers how they sync.
const openAccounts = `
system_account: SYS
no_auth_user: anyone
accounts {
  SYS { exports: [ { service: "$SYS.REQ.SERVER.PING.JSZ", response: stream } ] }
  TRIGGERD {
    jetstream: enabled
    users: [ { user: anyone, password: "" } ]
    imports: [ { service: { account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" } } ]
  }
}
`

// Boot starts all members that are down, at once, and waits until all know what the others know, and the one that leads would place a stream
// on any of them.
func (c *Cluster) Boot() {
	c.t.Helper()
	for _, m := range c.members {
		if m.cmd == nil {
			m.start()
		}
	}
	for _, m := range c.members {
		m.await(saysReady)
	}
	for _, m := range c.members {
		m.await(saysCurrent)
	}
	if c.size > 1 {
		Eventually(c.t, func() bool {
			return slices.ContainsFunc(c.members, func(m *Member) bool { return m.said.sees() == c.size })
		}, "one of %d servers leads all of them", c.size)
	}
}

// Kill kills all members at once.
func (c *Cluster) Kill() {
	c.t.Helper()
	for _, m := range c.members {
		if m.cmd != nil {
			m.Kill()
		}
	}
}

// Members are the servers, up or down.
func (c *Cluster) Members() []*Member { return c.members }

// URL is the addresses of all members.
func (c *Cluster) URL() string {
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.URL())
	}
	return strings.Join(urls, ",")
}

// Connect opens a connection to any member that goes over to another one when that is lost; the test's end closes it.
func (c *Cluster) Connect(opts ...nats.Option) *nats.Conn {
	c.t.Helper()
	return connect(c.t, c.URL(), opts...)
}

// Leader is the member that leads a stream; it waits for one to be elected.
func (c *Cluster) Leader(js jetstream.JetStream, stream string) *Member {
	c.t.Helper()
	var leader *Member
	Eventually(c.t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), Patience/10)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		i := slices.IndexFunc(c.members, func(m *Member) bool { return m.name == s.CachedInfo().Cluster.Leader && m.cmd != nil })
		if i >= 0 {
			leader = c.members[i]
		}
		return i >= 0
	}, "stream %s has a leader", stream)
	return leader
}

// FreeAddr is an address of loopback that is nobody else's until the test ends: for a server that others must find again.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, release, err := ports.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}
