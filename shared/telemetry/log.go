package telemetry

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
)

// Forms of log lines.
const (
	LogText = "text"
	LogJSON = "json"
)

// LogConfig says how a process logs.
type LogConfig struct {
	Format string     // LogText or LogJSON
	Level  slog.Level // what is less is not written
}

// RegisterFlags adds -log-format and -log-level and sets their defaults.
func (c *LogConfig) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Format, "log-format", LogText, "`form` of log lines on stderr: text or json")
	fs.TextVar(&c.Level, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
}

// Validate joins all faults.
func (c *LogConfig) Validate() error {
	var faults []error
	if c.Format != LogText && c.Format != LogJSON {
		faults = append(faults, fmt.Errorf("-log-format is %q, neither %s nor %s", c.Format, LogText, LogJSON))
	}
	return errors.Join(faults...)
}

// Logger writes to w, which gets one call of Write for each line.
func (c *LogConfig) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.Level}
	if c.Format == LogJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
