package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/config"
)

// secretive has a setting that is secret, and one in which there may be something secret.
type secretive struct {
	settings
	token, url string
	learned    config.Effective
}

func (s *secretive) RegisterFlags(fs *flag.FlagSet) {
	s.settings.RegisterFlags(fs)
	fs.Var((*config.Secret)(&s.token), "token", "what nobody may see")
	s.url = "nats://h"
	fs.Var((*config.URL)(&s.url), "nats-url", "`url`")
}

func (s *secretive) Learn(told config.Effective) { s.learned = told }

func shown(t *testing.T, told config.Effective, form config.Form) string {
	t.Helper()
	var out bytes.Buffer
	if err := told.Write(&out, form); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestReadSaysWhoSaidWhat(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("nats://u:secret@h:1\n"), 0o604); err != nil {
		t.Fatal(err)
	}
	var s secretive
	told, err := config.Read("test", []string{"-partitions", "7", "-token", "secret"}, []string{"TRIGGERD_DEMO=true", "TRIGGERD_PARTITIONS=5", "TRIGGERD_NATS_URL_FILE=" + file}, io.Discard, &s)
	if err != nil || s.url != "nats://u:secret@h:1" || s.token != "secret" || s.count != 7 || s.learned.Program != "test" {
		t.Fatalf("%+v, %v", s, err)
	}
	var table []string
	for line := range strings.Lines(shown(t, told, config.FormText)) {
		table = append(table, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{"-partitions 7 flag", "-demo true TRIGGERD_DEMO", "-http-addr 127.0.0.1:8080 default", "-nats-url nats://u:redacted@h:1 file " + file,
		"-token redacted flag", `-token-file "" default`} {
		if !slices.Contains(table, want) {
			t.Errorf("%q is not in %q", want, table)
		}
	}
	for _, want := range []string{"TRIGGERD_PARTITIONS='7'\n", "# TRIGGERD_TOKEN holds a secret, from flag\n", "# TRIGGERD_TOKEN_FILE is empty\n"} {
		if text := shown(t, told, config.FormEnv); !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	var again config.Effective
	if err := json.Unmarshal([]byte(shown(t, told, config.FormJSON)), &again); err != nil || len(again.Settings) != len(told.Settings) || !again.Settings[len(again.Settings)-2].Redacted {
		t.Errorf("as JSON: %v, %+v", err, again)
	}
	if len(told.Warnings) != 1 || !strings.Contains(told.Warnings[0], "every user of this machine can read") {
		t.Errorf("warnings %q", told.Warnings)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("starts", "settings", told)
	if line := log.String(); !strings.Contains(line, "settings.partitions=7") || strings.Contains(line, "http-addr") || strings.Contains(line, "=secret") {
		t.Errorf("log: %s", line)
	}
}

func TestAnEnvironmentFileIsReadAgain(t *testing.T) {
	var s settings
	told, err := config.Read("test", []string{"-http-addr", "it's", "-partitions", "3"}, nil, io.Discard, &s)
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	for line := range strings.Lines(shown(t, told, config.FormEnv)) {
		line = strings.ReplaceAll(strings.TrimSpace(line), `'\''`, "\x00")
		environ = append(environ, strings.ReplaceAll(strings.ReplaceAll(line, "'", ""), "\x00", "'"))
	}
	var again settings
	if err := load(&again, nil, environ); err != nil || again != s {
		t.Errorf("%+v became %+v, %v", s, again, err)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	empty, long := filepath.Join(dir, "empty"), filepath.Join(dir, "long")
	if err := errors.Join(os.WriteFile(empty, []byte("\n"), 0o600), os.WriteFile(long, make([]byte, 65<<10), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args    []string
		environ []string
		want    string
	}{
		{[]string{"-token-file", "/nowhere"}, nil, "read -token-file: stat /nowhere: no such file or directory (flag)"},
		{[]string{"-token-file", empty}, nil, "read -token-file: " + empty + " is empty (flag)"},
		{nil, []string{"TRIGGERD_TOKEN_FILE=" + long}, "read -token-file: " + long + " has over 65536 bytes (TRIGGERD_TOKEN_FILE)"},
		{[]string{"-token", "secret"}, []string{"TRIGGERD_TOKEN_FILE=" + empty}, "-token and -token-file: one or the other (-token: flag, -token-file: TRIGGERD_TOKEN_FILE)"},
	} {
		if err := config.Load("test", c.args, c.environ, io.Discard, &secretive{}); err == nil || err.Error() != c.want {
			t.Errorf("%q %q: %v, want %s", c.args, c.environ, err, c.want)
		}
	}
}

func TestRedact(t *testing.T) {
	for address, want := range map[string]string{
		"":                             "",
		"nats://h:1":                   "nats://h:1",
		"h:1, h:2":                     "h:1,h:2",
		"nats://u:p@h,tls://token@g:1": "nats://u:redacted@h,tls://redacted@g:1",
		"token@h:1":                    "redacted@h:1",
		"https://h/a?key=x":            "https://h/a?redacted",
		"nats://u:p%@h":                "redacted",
	} {
		if have := config.Redact(address); have != want {
			t.Errorf("%s: %s, want %s", address, have, want)
		}
	}
}

func TestSamePort(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{":1", "127.0.0.1:1", true}, {"0.0.0.0:1", "10.0.0.1:1", true}, {"[::]:1", ":1", true}, {"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "10.0.0.1:1", false}, {":0", ":0", false}, {":1", ":2", false}, {"x", "x", false},
	} {
		if have := config.SamePort(c.a, c.b); have != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, have)
		}
	}
}
