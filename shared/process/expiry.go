package process

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"
)

// expiry shows when what this process and its broker show each other ends. It is looked up at each scrape: files may be replaced, and servers change.
type expiry struct {
	conn   *nats.Conn
	remote *Remote
}

var descExpiry = prometheus.NewDesc("triggerd_broker_expiry_timestamp_seconds",
	"When it ends: own (the certificate of -nats-tls-cert), credentials (the JWT of -nats-credentials), server (the certificate of the server that this process is connected to). "+
		"Unix time; missing for what is not used, or has no end. Bad within weeks of now: the broker refuses this process then, or this process it.",
	[]string{"whose"}, nil)

// showExpiry registers it.
func showExpiry(env *Env, remote *Remote) error {
	return env.Registry.Register(&expiry{conn: env.Broker.Conn, remote: remote})
}

// Describe implements prometheus.Collector.
func (e *expiry) Describe(ch chan<- *prometheus.Desc) { ch <- descExpiry }

// Collect implements prometheus.Collector.
func (e *expiry) Collect(ch chan<- prometheus.Metric) {
	send := func(whose string, end time.Time, err error) {
		if err == nil && !end.IsZero() {
			ch <- prometheus.MustNewConstMetric(descExpiry, prometheus.GaugeValue, float64(end.Unix()), whose)
		}
	}
	if e.remote.TLSCert != "" {
		end, err := certificateEnd(e.remote.TLSCert)
		send("own", end, err)
	}
	if e.remote.Credentials != "" {
		end, err := credentialsEnd(e.remote.Credentials)
		send("credentials", end, err)
	}
	if state, err := e.conn.TLSConnectionState(); err == nil && len(state.PeerCertificates) > 0 {
		send("server", state.PeerCertificates[0].NotAfter, nil)
	}
}

// certificateEnd is that of the first certificate in a file, which is the one that is shown.
func certificateEnd(file string) (time.Time, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return time.Time{}, err
		}
		return certificate.NotAfter, nil
	}
	return time.Time{}, errors.New("no certificate (PEM)")
}

// credentialsEnd is the exp of the JWT in a file of credentials; zero: it has none. The broker judges the JWT, so nothing is verified here.
func credentialsEnd(file string) (time.Time, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, err
	}
	token, err := nkeys.ParseDecoratedJWT(data)
	if err != nil {
		return time.Time{}, err
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, err
	}
	var claims struct {
		End int64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.End == 0 {
		return time.Time{}, err
	}
	return time.Unix(claims.End, 0), nil
}
