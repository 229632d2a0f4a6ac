package process

import (
	"encoding/base64"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/natstest"
)

// The own certificate is that of the file as it is now, the server's that of the connection; what has no end shows nothing.
func TestExpiry(t *testing.T) {
	ca := natstest.NewAuthority(t)
	serverCert, serverKey := ca.Issue("server")
	srv := natstest.Start(t, natstest.Lazy(), natstest.Tune(func(o *server.Options) {
		tls, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: serverCert, KeyFile: serverKey, CaFile: ca.CA()})
		if err != nil {
			t.Fatal(err)
		}
		o.TLS, o.TLSConfig, o.TLSTimeout = true, tls, natstest.Patience.Seconds()
	}))
	cert, _ := ca.Issue("client")
	remote := Remote{URL: srv.URL(), TLSCA: ca.CA()}
	conn, err := remote.Dial(t.Context(), "test", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	ends := gatherEnds(t, conn, &remote)
	want, err := certificateEnd(serverCert)
	if err != nil || len(ends) != 1 || ends["server"] != float64(want.Unix()) {
		t.Errorf("ends are %v, want the server's %v (%v)", ends, want, err)
	}
	remote.TLSCert = cert
	if own := gatherEnds(t, conn, &remote)["own"]; own <= float64(time.Now().Unix()) {
		t.Errorf("own certificate ends at %g", own)
	}
	remote.Credentials = credentialsFile(t, `{"exp":1900000000}`)
	if got := gatherEnds(t, conn, &remote)["credentials"]; got != 1900000000 {
		t.Errorf("credentials end at %g", got)
	}
	remote.Credentials = credentialsFile(t, `{}`)
	if got, shown := gatherEnds(t, conn, &remote)["credentials"]; shown {
		t.Errorf("credentials without an end end at %g", got)
	}
	remote.TLSCert = filepath.Join(t.TempDir(), "gone")
	if got, shown := gatherEnds(t, conn, &remote)["own"]; shown {
		t.Errorf("a file that is gone ends at %g", got)
	}
}

func credentialsFile(t *testing.T, claims string) string {
	t.Helper()
	part := base64.RawURLEncoding.EncodeToString
	token := part([]byte(`{"alg":"ed25519-nkey"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
	name := filepath.Join(t.TempDir(), "user.creds")
	text := "-----BEGIN NATS USER JWT-----\n" + token + "\n------END NATS USER JWT------\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func gatherEnds(t *testing.T, conn *nats.Conn, remote *Remote) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(&expiry{conn: conn, remote: remote})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			ends[m.Label[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	return ends
}
