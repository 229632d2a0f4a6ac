package tracing

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
)

// DefaultQueue is how many spans may wait for the collector. One takes about 1 KiB.
const DefaultQueue = 4096

const maxQueue = 1 << 20

// Config says where spans go.
type Config struct {
	Endpoint    string // of a collector that takes OTLP over HTTP, without /v1/traces; empty = nowhere
	HeadersFile string // with what it wants to see; empty = nothing
	CA          string // file with the certificates that sign it; empty = the system's
	Queue       int    // spans that may wait; what is over is dropped and counted
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Endpoint, "otlp-endpoint", "", "`url` of an OpenTelemetry collector that takes OTLP over HTTP, as in http://127.0.0.1:4318; empty exports no spans")
	fs.StringVar(&c.HeadersFile, "otlp-headers-file", "", "`file` with headers for -otlp-endpoint, one \"Name: value\" a line; only with https, or on this machine")
	fs.StringVar(&c.CA, "otlp-ca", "", "`file` with the certificates (PEM) that sign the server of -otlp-endpoint; the system's if empty")
	fs.IntVar(&c.Queue, "otlp-queue", DefaultQueue, "spans that may wait for -otlp-endpoint; what is over is dropped and counted")
}

// Validate joins all faults. Files are read by Check, and by Tracer.
func (c *Config) Validate() error {
	var faults []error
	if c.Queue < 1 || c.Queue > maxQueue {
		faults = append(faults, fmt.Errorf("-otlp-queue is %d, not within 1 and %d", c.Queue, maxQueue))
	}
	if c.Endpoint == "" {
		if c.HeadersFile != "" {
			faults = append(faults, errors.New("-otlp-headers-file is given without -otlp-endpoint"))
		}
		if c.CA != "" {
			faults = append(faults, errors.New("-otlp-ca is given without -otlp-endpoint"))
		}
		return errors.Join(faults...)
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		faults = append(faults, errors.New("-otlp-endpoint is no http or https url"))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		faults = append(faults, errors.New("-otlp-endpoint has a user, a query or a fragment: secrets belong into -otlp-headers-file"))
	case u.Scheme == "http" && c.CA != "":
		faults = append(faults, errors.New("-otlp-ca with an -otlp-endpoint that is not https"))
	case u.Scheme == "http" && c.HeadersFile != "" && !onThisMachine(u.Hostname()):
		faults = append(faults, errors.New("-otlp-headers-file with an -otlp-endpoint that is not https: everybody on the way would read them"))
	}
	return errors.Join(faults...)
}

// Check reads the files, and joins what is wrong with them.
func (c *Config) Check() error {
	if c.Endpoint == "" {
		return nil
	}
	_, badCA := c.client()
	_, badHeaders := c.headers()
	return errors.Join(badCA, badHeaders)
}

func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// client is one that follows nobody elsewhere, since it carries secrets.
func (c *Config) client() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read -otlp-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read -otlp-ca: no certificate in %s", c.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// headers reads HeadersFile. Errors do not show what is in it.
func (c *Config) headers() (http.Header, error) {
	h := http.Header{"Content-Type": {"application/x-protobuf"}, "User-Agent": {"triggerd"}}
	if c.HeadersFile == "" {
		return h, nil
	}
	data, err := os.ReadFile(c.HeadersFile)
	if err != nil {
		return nil, fmt.Errorf("read -otlp-headers-file: %w", err)
	}
	own, err := textproto.NewReader(bufio.NewReader(strings.NewReader(strings.TrimSpace(string(data)) + "\n\n"))).ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("read -otlp-headers-file: %s is no list of headers", c.HeadersFile)
	}
	maps.Copy(h, own)
	return h, nil
}
