package telemetry

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Forms of log lines.
const (
	LogText = "text"
	LogJSON = "json"
)

// LogConfig says how a process logs.
type LogConfig struct {
	Format       string        // LogText or LogJSON
	Level        slog.Level    // what is less is not written
	Repeat       int           // lines of one level, message and partition that are written in a window; 0 = all
	RepeatWindow time.Duration // how long that is
}

// RegisterFlags adds the flags and sets their defaults.
func (c *LogConfig) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Format, "log-format", LogText, "`form` of log lines on stderr: text or json")
	fs.TextVar(&c.Level, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
	fs.IntVar(&c.Repeat, "log-repeat", DefaultLogRepeat, "`lines` of one level, message and partition that are logged in -log-repeat-window; then one says how many more there were; 0 logs all")
	fs.DurationVar(&c.RepeatWindow, "log-repeat-window", DefaultLogRepeatWindow, "`time` in which -log-repeat lines of a kind are logged")
}

// Validate joins all faults.
func (c *LogConfig) Validate() error {
	var faults []error
	if c.Format != LogText && c.Format != LogJSON {
		faults = append(faults, fmt.Errorf("-log-format is %q, neither %s nor %s", c.Format, LogText, LogJSON))
	}
	if c.Repeat < 0 {
		faults = append(faults, fmt.Errorf("-log-repeat is %d, under 0", c.Repeat))
	}
	if c.RepeatWindow <= 0 && c.Repeat != 0 {
		faults = append(faults, fmt.Errorf("-log-repeat-window is %s, and must be over 0", c.RepeatWindow))
	}
	return errors.Join(faults...)
}

// Logger writes to w, which gets one call of Write for each line. ShowRepeats shows what it leaves out, and FlushRepeats tells the rest of it at the end.
func (c *LogConfig) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.Level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if c.Format == LogJSON {
		h = slog.NewJSONHandler(w, opts)
	}
	if c.Repeat > 0 {
		h = newRepeatHandler(h, c.Repeat, c.RepeatWindow)
	}
	return slog.New(h)
}
