package tracing_test

import (
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/tracing"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
	good    = "00-" + traceID + "-" + spanID + "-01"
)

// The rules are those of W3C Trace Context, Level 2, 3.2 and 4.3. An empty want is no trace.
func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		good:                                        good,
		"00-" + traceID + "-" + spanID + "-00":      "00-" + traceID + "-" + spanID + "-00",
		"00-" + traceID + "-" + spanID + "-03":      "00-" + traceID + "-" + spanID + "-03",
		"00-" + traceID + "-" + spanID + "-ff":      "00-" + traceID + "-" + spanID + "-03", // unknown flags are not passed on
		"01-" + traceID + "-" + spanID + "-09":      "00-" + traceID + "-" + spanID + "-01", // a newer version: what is known of it counts
		"cc-" + traceID + "-" + spanID + "-01-x":    good,
		"cc-" + traceID + "-" + spanID + "-01-":     good,
		"cc-" + traceID + "-" + spanID + "-01.x":    "",
		good + "-x":                                 "", // version 00 ends where it ends
		good + " ":                                  "",
		good[:54]:                                   "",
		"":                                          "",
		"ff" + good[2:]:                             "",
		"0-" + good[3:] + "0":                       "",
		"0x" + good[2:]:                             "",
		strings.ToUpper(good):                       "",
		"00-" + strings.Repeat("0", 32) + good[35:]: "",
		good[:36] + strings.Repeat("0", 16) + good[52:]: "",
		good[:36] + "00f067aa0ba902bg" + good[52:]:      "",
		good[:53] + "0g":                                  "",
		strings.Replace(good, "-b7", "_b7", 1):            "",
		strings.Replace(good, "-01", "_01", 1):            "",
		strings.Replace(good, "00-", "00_", 1):            "",
		"00-" + traceID[:31] + "é" + good[36:]:            "",
		"00-" + traceID + "-" + spanID + "-0" + "\x00":    "",
		"00-" + traceID + "-" + spanID + "-01" + "\r\nx:": "",
	} {
		c, ok := tracing.Parse(in)
		if got := c.String(); got != want || ok != (want != "") || ok != c.Valid() {
			t.Errorf("%q: %q, %v, want %q", in, got, ok, want)
		}
		if again, ok := tracing.Parse([]byte(in)); again != c || ok != c.Valid() {
			t.Errorf("%q: as bytes it is %v", in, again)
		}
	}
}

func TestContextInTheLog(t *testing.T) {
	c, _ := tracing.Parse(good)
	if c.ID() != traceID || !c.Sampled() || len(c.Attrs("a", 1)) != 3 {
		t.Errorf("id %s, sampled %v, attributes %v", c.ID(), c.Sampled(), c.Attrs("a", 1))
	}
	var none tracing.Context
	if none.ID() != "" || none.Sampled() || len(none.Attrs("a", 1)) != 2 || none.String() != "" {
		t.Errorf("no trace shows itself: %v", none.Attrs("a", 1))
	}
}

// What passes is written in one way, which passes again and means the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, "cc-" + good[3:] + "-what-the-future-brings", "ff" + good[2:], good[:54], strings.ToUpper(good), ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := tracing.Parse(s)
		if ok != c.Valid() {
			t.Fatalf("%q: %v, %+v", s, ok, c)
		}
		if !ok {
			return
		}
		out := c.String()
		again, ok := tracing.Parse(out)
		if !ok || again != c || out[2:53] != s[2:53] || len(out) != len(good) {
			t.Fatalf("%q became %q", s, out)
		}
	})
}

func TestParseAllocatesNothing(t *testing.T) {
	room, in := make([]byte, 0, len(good)), []byte(good)
	if n := testing.AllocsPerRun(100, func() {
		c, _ := tracing.Parse(in)
		room = c.AppendTo(room[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := tracing.Parse(good); !ok {
			b.Fatal("refused")
		}
	}
}
