package settings

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// absurd are values that no setting takes for good, as far as its kind reads them at all.
var absurd = []string{"-1", "-1s", "NaN", "+Inf", "-0.5", "9223372036854775807", "2000000h"}

// Whatever is typed behind a single flag is taken, or is one fault that begins with the flag and says where it came from.
func TestAFaultNamesItsSettingOnce(t *testing.T) {
	for _, p := range programs(t) {
		for _, f := range p.flags() {
			for _, value := range absurd {
				p.onlyFault(t, f, value)
			}
		}
	}
}

func (p program) onlyFault(t *testing.T, f *flag.Flag, value string) {
	t.Helper()
	given := "-" + f.Name
	for _, fault := range p.faults([]string{given + "=" + value}, nil) {
		if strings.HasPrefix(fault, "invalid ") {
			continue
		}
		if !strings.Contains(fault, given+" ") && !strings.Contains(fault, given+":") && !strings.Contains(fault, given+",") || !strings.HasSuffix(fault, ")") {
			t.Errorf("%s %s=%s: %s", p.name, given, value, fault)
		}
	}
}

// Zeros that a program would take for the default are faults.
func TestTypedZeros(t *testing.T) {
	means := map[string][]string{ // something
		"ingress":    {"default-wait-time", "http-drain-delay", "log-repeat", "max-keys", "rate-burst", "rate-limit", "trace-sample", "turns", "watchdog-after"},
		"worker":     {"data-homes", "log-repeat", "max-keys", "partition-max-bytes", "standby", "watchdog-after"},
		"standalone": {"default-wait-time", "http-drain-delay", "log-repeat", "max-keys", "partition-max-bytes", "rate-burst", "rate-limit", "standby", "trace-sample", "turns", "watchdog-after"},
	}
	for _, p := range programs(t) {
		may, known := means[p.name]
		if !known {
			continue
		}
		for _, f := range p.flags() {
			zero := map[bool]string{true: "0s", false: "0"}[strings.HasSuffix(f.DefValue, "s")]
			if text := !strings.ContainsAny(f.DefValue[:min(1, len(f.DefValue))], "0123456789") || strings.Contains(f.DefValue, ":"); text {
				continue
			}
			faults := p.faults([]string{"-" + f.Name, zero}, nil)
			if may := slices.Contains(may, f.Name); may != (faults == nil) {
				t.Errorf("%s -%s %s: %q", p.name, f.Name, zero, faults)
			}
		}
	}
}

// contradictions are settings of which each is fine without the others.
var contradictions = []struct {
	program string
	args    []string
	want    string
}{
	{"ingress", []string{"-keys-url", "https://h/jwks"}, "-keys-file and -keys-url are both given"},
	{"ingress", []string{"-keys-url-ca", "FILE"}, "-keys-url-ca is given without -keys-url"},
	{"ingress", []string{"-keys-url-every", "2m"}, "-keys-url-every is given without -keys-url"},
	{"ingress", []string{"-keys-url-timeout", "2s"}, "-keys-url-timeout is given without -keys-url"},
	{"ingress", []string{"-keys-file", "", "-keys-url", "https://h/jwks", "-keys-url-timeout", "2m"}, "-keys-url-timeout is 2m0s, over -keys-url-every 1m0s"},
	{"ingress", []string{"-max-body", "1MiB"}, "over the 1020KiB of a record"},
	{"ingress", []string{"-max-batch-body", "128KiB"}, "-max-body is 256KiB, over -max-batch-body 128KiB"},
	{"ingress", []string{"-queue-bytes", "100000"}, "-max-body is 256KiB, over -queue-bytes"},
	{"ingress", []string{"-max-body-bytes", "8MiB"}, "over half of -max-body-bytes 8MiB"},
	{"ingress", []string{"-append-timeout", "1m", "-http-drain-timeout", "5m"}, "not under -http-write-timeout 45s"},
	{"ingress", []string{"-turn-timeout", "44500ms", "-http-drain-timeout", "5m"}, "not under -http-write-timeout 45s"},
	{"ingress", []string{"-http-drain-timeout", "500ms"}, "over -http-drain-timeout 500ms"},
	{"ingress", []string{"-http-read-header-timeout", "20s"}, "over -http-read-timeout 15s"},
	{"ingress", []string{"-rate-burst", "10"}, "-rate-burst is given without -rate-limit"},
	{"ingress", []string{"-http-addr", ":9090"}, "are one port"},
	{"ingress", []string{"-duplicate-window", "700ms"}, "not under -duplicate-window 700ms"},
	{"ingress", []string{"-replicas", "2"}, "-replicas 2: want 1, 3 or 5"},
	{"ingress", []string{"-nats-user", "u"}, "-nats-user and -nats-password-file"},
	{"ingress", []string{"-nats-url", "nats://u:p@h", "-nats-user", "u", "-nats-password-file", "FILE"}, "more than one of"},
	{"ingress", []string{"-nats-url", "nats://h", "-nats-url-file", "FILE"}, "-nats-url and -nats-url-file: one or the other"},
	{"ingress", []string{"-otlp-ca", "FILE"}, "-otlp-ca is given without -otlp-endpoint"},
	{"worker", []string{"-otlp-endpoint", "http://collector", "-otlp-headers-file", "FILE"}, "-otlp-endpoint that is not https"},
	{"ingress", []string{"-nats-url", "http://h"}, "-nats-url begins with http://"},
	{"worker", []string{"-partition-max-bytes", "2GiB", "-snapshot-max-bytes", "1GiB"}, "over -snapshot-max-bytes 1GiB"},
	{"worker", []string{"-snapshot-log-bytes", "512MiB"}, "over an eighth of -triggers-max-bytes, 256MiB"},
	{"worker", []string{"-standby", "0", "-digest-every", "1s"}, "-standby 0 leaves nothing to compare"},
	{"worker", []string{"-data-dir", "FILE"}, "is no directory"},
	{"worker", []string{"-nats-tls-cert", "FILE"}, "-nats-tls-cert and -nats-tls-key"},
	{"standalone", []string{"-replicas", "3"}, "standalone has one broker"},
	{"standalone", []string{"-nats-addr", "127.0.0.1:8080"}, "-nats-addr and -http-addr are one port"},
	{"standalone", []string{"-nats-addr", ":9090"}, "-nats-addr and -admin-addr are one port"},
	{"standalone", []string{"-admin-addr", "0.0.0.0:8080"}, "-http-addr 127.0.0.1:8080 and -admin-addr 0.0.0.0:8080 are one port"},
	{"standalone", []string{"-demo", "-keys-file", "KEYS"}, "-demo and -keys-file"},
	{"standalone", []string{"-demo", "-keys-url", "https://h/jwks"}, "-demo and -keys-url"},
	{"standalone", []string{"-demo", "-token-issuer", "x"}, "-demo and -token-issuer"},
	{"standalone", []string{"-demo", "-token-audience", "x"}, "-demo and -token-audience"},
	{"loadgen", []string{"-token", "t"}, "-token and -signing-key: one or the other"},
	{"loadgen", []string{"-signing-key", "", "-token", "t", "-account", "a"}, "-account and -token"},
	{"loadgen", []string{"-rate", "1", "-burst", "1"}, "-burst and -rate: one or the other"},
	{"loadgen", []string{"-every", "2s"}, "-every is given without -burst"},
	{"loadgen", []string{"-value-bytes", "8"}, "-value-bytes is given without -vars"},
	{"loadgen", []string{"-users", "10"}, "fewer than 256 -connections"},
	{"loadgen", []string{"-ledger", "FILE"}, "is there already"},
	{"verify", []string{"-nats-user", "u"}, "given without -nats-url"},
}

func TestContradictionsDoNotStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range contradictions {
		p := find(t, c.program)
		args := slices.Clone(c.args)
		for i, arg := range args {
			switch arg {
			case "FILE":
				args[i] = file
			case "KEYS":
				args[i] = find(t, "ingress").least[1]
			}
		}
		faults := p.faults(args, nil)
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, c.want) }) {
			t.Errorf("%s %q: %q does not say %q", c.program, c.args, faults, c.want)
		}
		if len(faults) != 1 && !strings.Contains(strings.Join(args, " "), file) {
			t.Errorf("%s %q: one contradiction is %d faults: %q", c.program, c.args, len(faults), faults)
		}
	}
}

// All that is wrong is told at once, each on a line, with where it came from.
func TestAllAtOnce(t *testing.T) {
	in := find(t, "ingress")
	faults := in.faults([]string{"-replicas", "4", "-rate-burst", "5", "-keys-file", "/nowhere"},
		[]string{"TRIGGERD_MAX_BODY=0", "TRIGGERD_HTTP_ADDR=here", "TRIGGERD_QUEUE_RECORDS=many", "TRIGGERD_NATS_TLS_CA=/nowhere"})
	for _, want := range []string{
		"-replicas 4: want 1, 3 or 5 (flag)",
		"-rate-burst is given without -rate-limit (-rate-burst: flag, -rate-limit: default)",
		"read -keys-file: open /nowhere: no such file or directory (flag)",
		"-max-body is 0, under 1 (TRIGGERD_MAX_BODY)",
		`-http-addr is "here", not like 127.0.0.1:8080 or :8080 (TRIGGERD_HTTP_ADDR)`,
		`invalid value "many" for TRIGGERD_QUEUE_RECORDS: not a whole number`,
		"read -nats-tls-ca: open /nowhere: no such file or directory (TRIGGERD_NATS_TLS_CA)",
	} {
		if !slices.Contains(faults, want) {
			t.Errorf("%q is not in %q", want, faults)
		}
	}
	if len(faults) != 7 {
		t.Errorf("%d faults of 7 mistakes: %q", len(faults), faults)
	}
}
