package loadgen

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// What is due is due, however late a connection comes for it: that is what latency is measured from.
func TestScheduleDoesNotWaitForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := newSchedule(&Config{Rate: 100, Batch: 1, Duration: time.Minute}, begun)
		var w waiter
		for i := range 5 {
			due, ok := s.due(t.Context(), &w)
			if want := time.Duration(i) * 10 * time.Millisecond; !ok || due.Sub(begun) != want || time.Since(begun) != want {
				t.Errorf("request %d is due at %v, at %v", i, due.Sub(begun), time.Since(begun))
			}
		}
		if !pause(t.Context(), time.Second) { // nobody was free for a second
			t.Fatal("no pause")
		}
		if due, _ := s.due(t.Context(), &w); due.Sub(begun) != 50*time.Millisecond {
			t.Errorf("after a second the next one is due at %v", due.Sub(begun))
		}
		if got := s.missed(time.Now()); got != 99 { // 105 were due, the first at 0, the last at 1.04 s; 6 were taken
			t.Errorf("%d missed", got)
		}
		if got := (&schedule{start: begun, end: begun.Add(time.Second), interval: 500 * time.Millisecond, burst: 10}).missed(time.Now()); got != 20 {
			t.Errorf("%d missed of two bursts; the third one would be due at the end", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok := s.due(ctx, &w); ok {
			t.Error("due after the end")
		}
	})
}

func TestBurstsAreDueAtOnce(t *testing.T) {
	begun := time.Now()
	s := newSchedule(&Config{Burst: 10, Every: time.Second, Batch: 4}, begun)
	for i, want := range []time.Duration{0, 0, 0, time.Second, time.Second, time.Second, 2 * time.Second} {
		if got := s.at(uint64(i)).Sub(begun); got != want {
			t.Errorf("request %d is due at %v, want %v", i, got, want)
		}
	}
}

// Over all connections the shares are as asked for, each connection has only users of its own, and all of them have their turn.
func TestSkew(t *testing.T) {
	r := &Session{cfg: Config{Users: 1000, Connections: 7, Batch: 1, Skew: Skew{80, 10}}, history: newHistory(header{Users: 1000}), targets: []target{{}}, seed: rand.Uint64()}
	t.Logf("seed %d", r.seed)
	const each = 3000
	hot, seen, owner := 0, map[int]int{}, map[int]int{}
	for i := range r.cfg.Connections {
		s := r.sender(i, &schedule{})
		for range each {
			n, ok := s.user()
			if other, taken := owner[n]; !ok || taken && other != i {
				t.Fatalf("user %d of connection %d: %t, also of connection %d", n, i, ok, other)
			}
			owner[n] = i
			seen[n]++
			if n < s.hot.size*7 {
				hot++
			}
		}
	}
	if share := float64(hot) / (7 * each); share < 0.77 || share > 0.83 {
		t.Errorf("%.3f of the calls are for hot users", share)
	}
	if len(seen) != r.cfg.Users {
		t.Errorf("%d of %d users were called", len(seen), r.cfg.Users)
	}
}

func TestSettings(t *testing.T) {
	for _, bad := range [][]string{
		{"-skew", "80"}, {"-skew", "80/0"}, {"-skew", "NaN/1"}, {"-skew", "100/1"}, {"-repeats", "x"}, {"-repeats", "101%"}, {"-repeats", "NaN"},
	} {
		var c Config
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		c.RegisterFlags(fs)
		if fs.Parse(bad) == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	for name, change := range map[string]func(*Config){
		"url": func(c *Config) { c.URL = "http://a:1,ftp://b" }, "path": func(c *Config) { c.URL = "http://a/b" },
		"both": func(c *Config) { c.Rate, c.Burst = 1, 1 }, "every": func(c *Config) { c.Burst, c.Every = 1, 0 },
		"too few hot": func(c *Config) { c.Skew = Skew{80, 0.1} }, "values": func(c *Config) { c.Vars, c.ValueBytes = 250, 1<<20 },
	} {
		c := Config{Token: "t"}
		c.RegisterFlags(flag.NewFlagSet("", flag.ContinueOnError))
		c.Token = "t"
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&c); c.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
