package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/triggerd/triggerd/shared/config"
)

// settings is a part with one flag of each common kind.
type settings struct {
	addr  string
	count int
	wait  time.Duration
	demo  bool
	size  config.Bytes
}

func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.addr, "http-addr", "127.0.0.1:8080", "`address` to serve")
	fs.IntVar(&s.count, "partitions", 4, "number of partitions")
	fs.DurationVar(&s.wait, "default-wait-time", time.Second, "how long")
	fs.BoolVar(&s.demo, "demo", false, "declare demo data")
	s.size = 1 << 20
	fs.Var(&s.size, "max-bytes", "bytes")
}

func (s *settings) Validate() error {
	if s.count < 1 {
		return fmt.Errorf("-partitions is %d, under 1", s.count)
	}
	return nil
}

func load(s *settings, args, environ []string) error {
	return config.Load("test", args, environ, io.Discard, s)
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		name          string
		args, environ []string
		want          settings
	}{
		{"defaults", nil, []string{"HOME=/root"}, settings{"127.0.0.1:8080", 4, time.Second, false, 1 << 20}},
		{"flags", []string{"-http-addr=:1", "--partitions", "7", "-demo"}, nil, settings{":1", 7, time.Second, true, 1 << 20}},
		{"variables", nil, []string{"TRIGGERD_HTTP_ADDR=:2", "TRIGGERD_DEFAULT_WAIT_TIME=3s", "TRIGGERD_DEMO=true", "TRIGGERD_MAX_BYTES=2GiB"},
			settings{":2", 4, 3 * time.Second, true, 2 << 30}},
		{"a flag wins over its variable", []string{"-http-addr", ":1"}, []string{"TRIGGERD_HTTP_ADDR=:2"}, settings{":1", 4, time.Second, false, 1 << 20}},
		{"an empty variable is none", nil, []string{"TRIGGERD_PARTITIONS=", "TRIGGERD_NO_SUCH="}, settings{"127.0.0.1:8080", 4, time.Second, false, 1 << 20}},
		{"an empty flag is a value", []string{"-http-addr", ""}, []string{"TRIGGERD_HTTP_ADDR=:2"}, settings{"", 4, time.Second, false, 1 << 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got settings
			if err := load(&got, c.args, c.environ); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// One start shows all that has to be mended.
func TestAllFaultsAtOnce(t *testing.T) {
	var s settings
	err := load(&s,
		[]string{"-partitions", "0", "-http-adr", ":1", "stray", "---x", "-default-wait-time", "soon", "-quite-another-thing", "-demo=perhaps", "-max-bytes"},
		[]string{"TRIGGERD_HTTP_ADR=:2", "TRIGGERD_PARTITIONS=many", "TRIGGERD_MAX_BYTES=-1", "TRIGGERD_ZZZZZZZZZZ=1"})
	want := []string{
		`unknown environment variable TRIGGERD_HTTP_ADR: did you mean TRIGGERD_HTTP_ADDR?`,
		`invalid value "-1" for TRIGGERD_MAX_BYTES: not a size like 1048576, 1024KiB or 1GiB`,
		`invalid value "many" for TRIGGERD_PARTITIONS: not a whole number`,
		`unknown environment variable TRIGGERD_ZZZZZZZZZZ`,
		`unknown flag -http-adr: did you mean -http-addr?`,
		`unexpected argument "stray"`,
		`bad flag syntax: ---x`,
		`invalid value "soon" for flag -default-wait-time: not a duration like 1h30m or 250ms`,
		`unknown flag -quite-another-thing`,
		`invalid boolean value "perhaps" for -demo: neither true nor false`,
		`flag needs an argument: -max-bytes`,
		`-partitions is 0, under 1 (flag)`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

func TestArgumentsAfterDashes(t *testing.T) {
	err := load(&settings{}, []string{"-demo", "--", "-partitions"}, nil)
	if err == nil {
		t.Error("an argument that is no flag was swallowed")
	}
}

func TestHelpNamesFlagVariableAndDefault(t *testing.T) {
	var help bytes.Buffer
	err := config.Load("test", []string{"-h"}, nil, &help, &settings{})
	if !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"-http-addr address", "TRIGGERD_HTTP_ADDR", `(default "127.0.0.1:8080")`, `(default "1MiB")`, "-demo"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("%q is not in\n%s", want, help.String())
		}
	}
}

func TestBytesReadsWhatItWrites(t *testing.T) {
	if err := quick.Check(func(n int64, shift uint8) bool {
		b := config.Bytes((n & (1<<63 - 1)) >> (shift % 63) << (shift % 63))
		var again config.Bytes
		return again.Set(b.String()) == nil && again == b
	}, nil); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]config.Bytes{"0": 0, "17": 17, "17B": 17, "4KiB": 4096, "8388607TiB": 8388607 << 40} {
		var b config.Bytes
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("%s: got %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "B", "-1", "+1", "1.5GiB", "1GB", "1 GiB", "8388608TiB", "1_000", "0x10", "99999999999999999999"} {
		var b config.Bytes
		if err := b.Set(text); err == nil {
			t.Errorf("%q: accepted as %d", text, b)
		}
	}
}

// A value that makes no sense is one fault, not two: the default stands in for it.
func TestBadValueLeavesTheDefault(t *testing.T) {
	for _, c := range []struct{ args, environ []string }{
		{args: []string{"-count", "x"}}, {args: []string{"-count=x"}}, {environ: []string{"TRIGGERD_COUNT=x"}},
	} {
		p := &counted{}
		err := config.Load("test", c.args, c.environ, io.Discard, p)
		if err == nil || strings.Contains(err.Error(), "under 1") || p.count != 7 {
			t.Errorf("%v %v: count %d, %v", c.args, c.environ, p.count, err)
		}
	}
}

type counted struct{ count int }

func (c *counted) RegisterFlags(fs *flag.FlagSet) { fs.IntVar(&c.count, "count", 7, "how many") }

func (c *counted) Validate() error {
	if c.count < 1 {
		return errors.New("-count is under 1")
	}
	return nil
}
