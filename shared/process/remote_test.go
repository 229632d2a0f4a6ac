package process_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
)

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Settings that contradict each other, or whose files are not there or not what they should be, do not start: all are named at once.
func TestRemoteRefusesWhatCannotWork(t *testing.T) {
	keys, ca := natstest.NewKeys(t), natstest.NewAuthority(t)
	cert, _ := ca.Issue("a")
	_, other := ca.Issue("b")
	junk := file(t, "junk")
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-nats-url", "nats://a,"}, []string{"-nats-url is empty"}},
		{[]string{"-nats-url", "nats://"}, []string{"without a host"}},
		{[]string{"-nats-nkey", keys.File("worker"), "-nats-user", "u"}, []string{"more than one of", "one without the other"}},
		{[]string{"-nats-nkey", keys.File("worker"), "-nats-url", "nats://u:p@h"}, []string{"more than one of"}},
		{[]string{"-nats-nkey", "/nowhere", "-nats-tls-ca", "/nowhere"}, []string{"read -nats-nkey", "read -nats-tls-ca"}},
		{[]string{"-nats-credentials", "/nowhere"}, []string{"read -nats-credentials"}},
		{[]string{"-nats-user", "u", "-nats-password-file", "/nowhere"}, []string{"read -nats-password-file"}},
		{[]string{"-nats-nkey", junk, "-nats-tls-ca", junk}, []string{"read -nats-nkey", "no certificate"}},
		{[]string{"-nats-tls-cert", cert}, []string{"-nats-tls-cert and -nats-tls-key"}},
		{[]string{"-nats-tls-cert", cert, "-nats-tls-key", other}, []string{"read -nats-tls-cert", "does not match"}},
		{[]string{"-nats-sync-always", "perhaps"}, []string{"not one of ask, declared, ignore"}},
	} {
		var remote process.Remote
		var rule process.SyncRule
		err := config.Load("test", test.args, nil, io.Discard, &remote, &rule)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v does not say %q", test.args, err, want)
			}
		}
	}
}

// dial connects as a process does, and says what it logged.
func dial(t *testing.T, log io.Writer, args ...string) (*nats.Conn, error) {
	t.Helper()
	var remote process.Remote
	if err := config.Load("test", args, nil, io.Discard, &remote); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	conn, err := remote.Dial(ctx, "test", slog.New(slog.NewTextHandler(log, nil)))
	if err == nil {
		t.Cleanup(conn.Close)
	}
	return conn, err
}

// takes fails unless a connection works, or is refused as such: at once, not waited for.
func takes(t *testing.T, want bool, args ...string) {
	t.Helper()
	conn, err := dial(t, io.Discard, args...)
	if want && err == nil {
		err = conn.FlushTimeout(natstest.Patience)
	}
	if want != (err == nil) || !want && !errors.Is(err, process.ErrRefused) {
		t.Errorf("%v: %v, want success: %v", args, err, want)
	}
}

func TestPasswords(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy(), natstest.Closed(), natstest.Tune(func(o *server.Options) { o.Username, o.Password = "u", "secret" }))
	takes(t, true, "-nats-url", srv.URL(), "-nats-user", "u", "-nats-password-file", file(t, "secret\n"))
	takes(t, false, "-nats-url", srv.URL(), "-nats-user", "u", "-nats-password-file", file(t, "wrong\n"))
	takes(t, false, "-nats-url", srv.URL())
}

func TestTLS(t *testing.T) {
	ca, stranger := natstest.NewAuthority(t), natstest.NewAuthority(t)
	cert, key := ca.Issue("client")
	foreign, foreignKey := stranger.Issue("client")
	for _, verify := range []bool{false, true} {
		srv := natstest.Start(t, natstest.Lazy(), natstest.Tune(func(o *server.Options) {
			serverCert, serverKey := ca.Issue("server")
			tls, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: serverCert, KeyFile: serverKey, CaFile: ca.CA(), Verify: verify})
			if err != nil {
				t.Fatal(err)
			}
			o.TLS, o.TLSVerify, o.TLSConfig, o.TLSTimeout = true, verify, tls, natstest.Patience.Seconds()
		}))
		url := []string{"-nats-url", srv.URL()}
		with := func(args ...string) []string { return append(url[:2:2], args...) }
		takes(t, !verify, with("-nats-tls-ca", ca.CA())...)
		takes(t, true, with("-nats-tls-ca", ca.CA(), "-nats-tls-cert", cert, "-nats-tls-key", key)...)
		takes(t, true, with("-nats-tls-ca", ca.CA(), "-nats-tls-cert", cert, "-nats-tls-key", key, "-nats-tls-server-name", "server")...)
		takes(t, false, with("-nats-tls-ca", ca.CA(), "-nats-tls-cert", cert, "-nats-tls-key", key, "-nats-tls-server-name", "another")...)
		takes(t, !verify, with("-nats-tls-ca", ca.CA(), "-nats-tls-cert", foreign, "-nats-tls-key", foreignKey)...)
		takes(t, false, with("-nats-tls-ca", stranger.CA(), "-nats-tls-cert", cert, "-nats-tls-key", key)...)
		takes(t, false, url...) // the system does not know the authority
	}
}

// doorman is a broker that takes who knows the password, and tells of whom it does not.
type doorman struct {
	password string
	refused  chan struct{}
}

func (d *doorman) Check(client server.ClientAuthentication) bool {
	if client.GetOpts().Password == d.password {
		return true
	}
	select {
	case d.refused <- struct{}{}:
	default:
	}
	return false
}

// A broker that takes a process no longer after a restart is named, and asked again until it does.
func TestRefusedWhenReconnecting(t *testing.T) {
	password, refused := "secret", make(chan struct{}, 100)
	srv := natstest.Start(t, natstest.Lazy(), natstest.Closed(), natstest.Tune(func(o *server.Options) {
		o.CustomClientAuthentication = &doorman{password, refused}
	}))
	said := make(lines, 1000)
	conn, err := dial(t, said, "-nats-url", srv.URL(), "-nats-user", "u", "-nats-password-file", file(t, password))
	if err != nil {
		t.Fatal(err)
	}
	password = "another"
	srv.Restart()
	said.await(t, "broker refuses to take this process back")
	for range 3 { // the client would give up after two
		<-refused
	}
	password = "secret"
	srv.Restart()
	natstest.Eventually(t, conn.IsConnected, "connected again")
	said.await(t, "broker takes this process back")
}

// lines is a writer that hands on what is written to it.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func (l lines) await(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	for {
		select {
		case line := <-l:
			if strings.Contains(line, text) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("log does not say %q", text)
		}
	}
}
