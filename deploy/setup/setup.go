// Package setup makes the secrets of a deployment in containers: once, at its first start, so that none is in an image, in a variable or in somebody's
// shell history.
//
// # Usage
//
//	made, err := setup.Run(setup.Config{Dir: "/keys"})
//
// # Files
//
// Below Dir there is a directory for each who reads it, which can be a volume of its own, so that nobody has the others' secrets:
//
//	nats/nats.env            the roles' public keys, as deploy/nats/permissions.conf reads them; no secret
//	ingress/ingress.nk       seed of role ingress, for the broker
//	ingress/jwks.json        public keys of who signs tokens; no secret
//	worker/worker.nk         seed of role worker
//	operator/operator.nk     seed of role operator
//	operator/system.nk       seed of role system
//	operator/signing.pem     the key that signs tokens, with its jwks.json, from which ingress/jwks.json is copied
//	grafana/admin-password   of Grafana's first user
//
// # Failure
//
// What is there is never replaced, so Run may be called at every start; one that was killed in the middle is finished by the next. A seed that cannot be
// read is an error: a new one would lock out whoever still has the old.
package setup

import (
	"bytes"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/triggerd/triggerd/ingress"
)

// Config says where.
type Config struct {
	Dir string
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Dir, "dir", "keys", "`directory` of the directories with secrets, one for each who reads them")
}

// Validate joins all faults.
func (c *Config) Validate() error {
	if c.Dir == "" {
		return errors.New("-dir is empty")
	}
	return nil
}

// roles of permissions.conf, and in whose directory the seed of each is.
var roles = []struct{ name, reader string }{
	{"ingress", "ingress"}, {"worker", "worker"}, {"operator", "operator"}, {"system", "operator"},
}

// Who reads what beside the roles' seeds.
const (
	natsDir     = "nats"
	natsFile    = "nats.env"
	operatorDir = "operator"
	ingressDir  = "ingress"
	grafanaDir  = "grafana"
	grafanaFile = "admin-password"
)

// Modes. Nobody but its reader has a directory, so a file that another user than the maker's reads, which is Grafana's, may be readable by all there.
const (
	dirMode    = 0o700
	secretMode = 0o400
	sharedMode = 0o444
)

// Run makes what is missing, and says what that was.
func Run(cfg Config) (made []string, err error) {
	s := &setup{dir: cfg.Dir}
	for _, make := range []func() error{s.nkeys, s.tokens, s.grafana} {
		if err := make(); err != nil {
			return s.made, err
		}
	}
	return s.made, nil
}

type setup struct {
	dir  string
	made []string
}

// nkeys makes the roles' seeds, and tells the servers their public keys.
func (s *setup) nkeys() error {
	var env bytes.Buffer
	for _, role := range roles {
		public, err := s.nkey(role.reader, role.name+".nk")
		if err != nil {
			return err
		}
		fmt.Fprintf(&env, "export TRIGGERD_NKEY_%s=%s\n", strings.ToUpper(role.name), public)
	}
	return s.replace(natsDir, natsFile, env.Bytes(), sharedMode)
}

// nkey returns the public key of a seed, which it makes unless it is there.
func (s *setup) nkey(reader, name string) (public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	if err := s.once(reader, name, seed, secretMode); err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, reader, name)
	if seed, err = os.ReadFile(path); err != nil {
		return "", err
	}
	if pair, err = nkeys.FromSeed(bytes.TrimSpace(seed)); err != nil {
		return "", fmt.Errorf("read the seed %s: %w; put it back from where you have it, or move it away to have a new one made, and restart all servers", path, err)
	}
	return pair.PublicKey()
}

// tokens makes the key that signs tokens, and gives ingresses the public half.
func (s *setup) tokens() error {
	keys := ingress.KeysIn(filepath.Join(s.dir, operatorDir))
	_, before := os.Stat(keys.Signing)
	if err := ingress.EnsureKeys(filepath.Dir(keys.Signing)); err != nil {
		return fmt.Errorf("make the key that signs tokens: %w", err)
	}
	if before != nil {
		s.made = append(s.made, keys.Signing)
	}
	public, err := os.ReadFile(keys.Public)
	if err != nil {
		return err
	}
	return s.replace(ingressDir, filepath.Base(keys.Public), public, sharedMode)
}

func (s *setup) grafana() error {
	return s.once(grafanaDir, grafanaFile, []byte(rand.Text()), sharedMode)
}

// once writes a file that is not there yet, whole or not at all.
func (s *setup) once(reader, name string, data []byte, mode fs.FileMode) error {
	path := filepath.Join(s.dir, reader, name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.replace(reader, name, data, mode)
}

// replace writes a file unless it says the same, whole or not at all.
func (s *setup) replace(reader, name string, data []byte, mode fs.FileMode) error {
	dir := filepath.Join(s.dir, reader)
	path := filepath.Join(dir, name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	if err := write(path, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	s.made = append(s.made, path)
	return nil
}

func write(path string, data []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
