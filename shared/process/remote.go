package process

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/triggerd/triggerd/shared/config"
)

// Remote is a broker elsewhere. Files are read when they are needed, at every connection, so that what they hold may be replaced.
type Remote struct {
	URL          string // nats://host:port, several separated by commas
	Credentials  string // file with a JWT and its key
	Nkey         string // file with a seed
	User         string
	PasswordFile string

	TLSCA         string // file with certificates, PEM; empty = the system's
	TLSCert       string // files with the own certificate and its key, PEM; empty = none
	TLSKey        string
	TLSServerName string // empty = the host of the url
}

// RegisterFlags adds the -nats- flags and sets their defaults.
func (r *Remote) RegisterFlags(fs *flag.FlagSet) {
	r.URL = nats.DefaultURL
	fs.Var((*config.URL)(&r.URL), "nats-url", "`url` of the broker, or those of several servers separated by commas")
	fs.StringVar(&r.Credentials, "nats-credentials", "", "`file` with credentials (a JWT and its key) for the broker")
	fs.StringVar(&r.Nkey, "nats-nkey", "", "`file` with the seed of an nkey that the broker knows")
	fs.StringVar(&r.User, "nats-user", "", "`name` of a user that the broker knows by password")
	fs.StringVar(&r.PasswordFile, "nats-password-file", "", "`file` with the password of -nats-user")
	fs.StringVar(&r.TLSCA, "nats-tls-ca", "", "`file` with the certificates (PEM) that sign the broker's; the system's if empty")
	fs.StringVar(&r.TLSCert, "nats-tls-cert", "", "`file` with the certificate (PEM) to show to the broker")
	fs.StringVar(&r.TLSKey, "nats-tls-key", "", "`file` with the key (PEM) of -nats-tls-cert")
	fs.StringVar(&r.TLSServerName, "nats-tls-server-name", "", "`name` that the broker's certificate must have; the url's host if empty")
}

// Validate joins all faults. It reads the files, so that one that is missing or broken is found before anything is touched.
func (r *Remote) Validate() error {
	faults := r.urlFaults()
	fault := func(wrong bool, what string) {
		if wrong {
			faults = append(faults, errors.New(what))
		}
	}
	fault(r.identities() > 1, "more than one of -nats-credentials, -nats-nkey, -nats-user and a user in -nats-url: the broker takes one")
	fault((r.User == "") != (r.PasswordFile == ""), "-nats-user and -nats-password-file: one without the other")
	fault((r.TLSCert == "") != (r.TLSKey == ""), "-nats-tls-cert and -nats-tls-key: one without the other")
	_, err := r.options()
	return errors.Join(append(faults, err)...)
}

// schemes of addresses that the client understands.
var schemes = []string{"nats", "tls", "ws", "wss"}

func (r *Remote) urlFaults() (faults []error) {
	for one := range strings.SplitSeq(r.URL, ",") {
		one = strings.TrimSpace(one)
		u, err := url.Parse(one)
		switch {
		case one == "":
			faults = append(faults, errors.New("-nats-url is empty, or has an empty part"))
		case err != nil: // it may hold a password, and is not shown
			faults = append(faults, errors.New("-nats-url has a part that is no url"))
		case strings.Contains(one, "://") && u.Host == "":
			faults = append(faults, fmt.Errorf("-nats-url has a part without a host: %s", config.Redact(one)))
		case strings.Contains(one, "://") && !slices.Contains(schemes, u.Scheme):
			faults = append(faults, fmt.Errorf("-nats-url begins with %s://, none of %s://", u.Scheme, strings.Join(schemes, "://, ")))
		}
	}
	return faults
}

// identities counts the ways in which the process would say who it is.
func (r *Remote) identities() (n int) {
	for _, given := range []bool{r.Credentials != "", r.Nkey != "", r.User != "", strings.Contains(r.URL, "@")} {
		if given {
			n++
		}
	}
	return n
}

// Warnings implements config.Warner.
func (r *Remote) Warnings() []string {
	return slices.Concat(config.Exposed("nats-credentials", r.Credentials), config.Exposed("nats-nkey", r.Nkey),
		config.Exposed("nats-password-file", r.PasswordFile), config.Exposed("nats-tls-key", r.TLSKey))
}

// options are those of the client that come from the settings.
func (r *Remote) options() (opts []nats.Option, _ error) {
	var faults []error
	add := func(flag, file string, make func(file string) (nats.Option, error)) {
		if file == "" {
			return
		}
		opt, err := make(file)
		if err != nil {
			faults = append(faults, fmt.Errorf("read -%s: %w", flag, err))
			return
		}
		opts = append(opts, opt)
	}
	if r.TLSServerName != "" { // first: the others add to it
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.TLSServerName}))
	}
	add("nats-credentials", r.Credentials, credentials)
	add("nats-nkey", r.Nkey, nats.NkeyOptionFromSeed)
	add("nats-password-file", r.PasswordFile, r.password)
	add("nats-tls-ca", r.TLSCA, authorities)
	if r.TLSKey != "" {
		add("nats-tls-cert", r.TLSCert, r.certificate)
	}
	return opts, errors.Join(faults...)
}

// credentials takes a file apart as the client does when it connects, which is late.
func credentials(file string) (nats.Option, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		_, err = nkeys.ParseDecoratedJWT(data)
	}
	if err == nil {
		var key nkeys.KeyPair
		if key, err = nkeys.ParseDecoratedUserNKey(data); err == nil {
			key.Wipe()
		}
	}
	return nats.UserCredentials(file), err
}

func (r *Remote) password(file string) (nats.Option, error) {
	secret, err := os.ReadFile(file)
	if err == nil && len(bytes.TrimRight(secret, "\r\n")) == 0 {
		err = fmt.Errorf("%s is empty", file)
	}
	return nats.UserInfoHandler(func() (string, string) {
		password, _ := os.ReadFile(file) // if it has gone, the broker refuses, aloud
		return r.User, string(bytes.TrimRight(password, "\r\n"))
	}), err
}

func authorities(file string) (nats.Option, error) {
	data, err := os.ReadFile(file)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = fmt.Errorf("no certificate (PEM) in %s", file)
	}
	return nats.RootCAs(file), err
}

func (r *Remote) certificate(file string) (nats.Option, error) {
	_, err := tls.LoadX509KeyPair(file, r.TLSKey)
	return nats.ClientCert(file, r.TLSKey), err
}
