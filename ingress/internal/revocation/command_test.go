package revocation

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
)

// run runs the command against srv, with the environment of an ingress beside it.
func run(srv *natstest.Server, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	read := func(token string) (string, time.Time, error) {
		switch token {
		case "nameless":
			return "", time.Time{}, nil
		case "good":
			return "from-token", time.Now().Add(time.Hour), nil
		}
		return "", time.Time{}, errors.New("not a token")
	}
	environ := []string{"TRIGGERD_NATS_URL=" + srv.URL(), "TRIGGERD_KEYS_FILE=x", "TRIGGERD_HTTP_ADDR=y", "HOME=/"}
	code = Command(context.Background(), args, environ, read, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

func TestCommand(t *testing.T) {
	srv, b := setUp(t)
	s := newSet(t, b, Config{}, io.Discard)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("good\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args  []string
		stdin string
		says  string
		code  int
	}{
		{[]string{"-jti", "a", "-reason", "lost"}, "", `token "a" is revoked until this is undone`, 0},
		{[]string{"-jti", "b", "-until", "2999-01-01T00:00:00Z"}, "", `token "b" is revoked until 2999-01-01T00:00:00Z`, 0},
		{[]string{"-jti", "c", "-until", "24h"}, "", `token "c" is revoked until 2`, 0},
		{[]string{"-token-file", file}, "", `token "from-token" is revoked until 2`, 0},
		{[]string{"-token-file", "-"}, "good", `token "from-token" is revoked until 2`, 0},
		{[]string{"-undo", "-jti", "c"}, "", `token "c" passes again`, 0},
		{[]string{"-undo", "-jti", "c"}, "", `token "c" was not revoked`, 0},
		{[]string{"-token-file", "-"}, "nameless", "", 1},
		{[]string{"-token-file", "-"}, "nonsense", "", 1},
		{[]string{"-token-file", file + "x"}, "", "", 1},
		{[]string{"-jti", "a", "-until", "-1h"}, "", "", 1},
		{nil, "", "", 2},
		{[]string{"-jti", "a", "-token-file", file}, "", "", 2},
		{[]string{"-jti", strings.Repeat("x", 1000)}, "", "", 2},
		{[]string{"-jti", "a", "-until", "tomorrow"}, "", "", 2},
		{[]string{"-jti", "a", "-undo", "-until", "1h"}, "", "", 2},
		{[]string{"-list", "-jti", "a"}, "", "", 2},
		{[]string{"-jti", "a", "-timeout", "0s"}, "", "", 2},
		{[]string{"-jti", "a", "-keys-file", "x"}, "", "", 2},
		{[]string{"-h"}, "", "-jti", 0},
	} {
		code, stdout, stderr := run(srv, step.stdin, step.args...)
		if code != step.code || !strings.Contains(stdout, step.says) || (code == 0) != (stderr == "") {
			t.Errorf("%q: %d %q %q", step.args, code, stdout, stderr)
		}
	}
	comesTo(t, "a", true, s)
	comesTo(t, "from-token", true, s)
	comesTo(t, "c", false, s)
	code, stdout, _ := run(srv, "", "-list")
	if rows := strings.Split(strings.TrimSpace(stdout), "\n"); code != 0 || len(rows) != 3 || !strings.HasPrefix(rows[0], "\"a\"\tuntil this is undone\tsince 2") ||
		!strings.HasSuffix(rows[0], `"lost"`) || !strings.HasPrefix(rows[2], `"from-token"`) {
		t.Errorf("list: %d\n%s", code, stdout)
	}
}

// A broker that is away is waited for until -timeout.
func TestCommandWithoutABroker(t *testing.T) {
	srv, _ := setUp(t)
	srv.Stop()
	if code, _, stderr := run(srv, "", "-jti", "a", "-timeout", "100ms"); code != 1 || !strings.Contains(stderr, "connect") {
		t.Errorf("%d %q", code, stderr)
	}
}

// Where nothing was ever run there is nothing to revoke.
func TestCommandWithoutADeployment(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	if code, _, stderr := run(srv, "", "-jti", "a"); code != 1 || !strings.Contains(stderr, "no deployment here") {
		t.Errorf("%d %q", code, stderr)
	}
}
