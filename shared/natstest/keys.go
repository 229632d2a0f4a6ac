package natstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Keys are the nkeys of deploy/nats/permissions.conf.
type Keys struct {
	t   testing.TB
	dir string
	env []string
}

// NewKeys makes a key for each role, as deploy/nats/keys does.
func NewKeys(t testing.TB) *Keys {
	t.Helper()
	k := &Keys{t: t, dir: t.TempDir()}
	for _, role := range []string{"ingress", "worker", "operator", "system"} {
		k.env = append(k.env, "TRIGGERD_NKEY_"+strings.ToUpper(role)+"="+k.make(role))
	}
	return k
}

// make writes a role's seed and returns its public key.
func (k *Keys) make(role string) string {
	k.t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		k.t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(k.File(role), seed, 0o600); err != nil {
		k.t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		k.t.Fatal(err)
	}
	return public
}

// Env is the servers' environment, for Config.
func (k *Keys) Env() []string { return k.env }

// File holds a role's seed.
func (k *Keys) File(role string) string { return filepath.Join(k.dir, role+".nk") }

// As connects as a role, with the inbox that is its.
func (k *Keys) As(role string) nats.Option {
	return func(o *nats.Options) error {
		key, err := nats.NkeyOptionFromSeed(k.File(role))
		if err != nil {
			return err
		}
		if err := nats.CustomInboxPrefix("_INBOX." + role)(o); err != nil {
			return err
		}
		return key(o)
	}
}
