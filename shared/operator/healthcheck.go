package operator

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/triggerd/triggerd/shared/process"
)

// HealthcheckVerb is what the arguments of Healthcheck begin with.
const HealthcheckVerb = "healthcheck"

// DefaultHealthTimeout is short: whoever asks asks again, and a process that takes longer is not well.
const DefaultHealthTimeout = 2 * time.Second

// maxHealthText is more than anybody keeps of a health check's output.
const maxHealthText = 16 << 10

// health is what a health check can be told.
type health struct {
	adminAddr string
	live      bool
	timeout   time.Duration
}

// RegisterFlags implements config.Part.
func (h *health) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&h.adminAddr, "admin-addr", process.DefaultAdminAddr, "`address` of the admin port, as the process was given it")
	fs.BoolVar(&h.live, "live", false, "ask only whether the process answers (/livez), for whoever restarts one that does not; else whether it can do its work (/readyz)")
	fs.DurationVar(&h.timeout, "timeout", DefaultHealthTimeout, "longest `time` that the answer may take")
}

// Validate implements config.Part.
func (h *health) Validate() error {
	_, port, err := net.SplitHostPort(h.adminAddr)
	var faults []error
	if err != nil || port == "0" {
		faults = append(faults, fmt.Errorf("-admin-addr %q is not an address like %s: the port must be known", h.adminAddr, process.DefaultAdminAddr))
	}
	if h.timeout <= 0 {
		faults = append(faults, fmt.Errorf("-timeout is %s, not over 0", h.timeout))
	}
	return errors.Join(faults...)
}

// Healthcheck is the verb healthcheck of a program: it asks the admin port of the process beside which it is called, and returns 0 if that is ready (or, with
// -live, answers at all), 1 if not, having said why, and 2 for wrong usage. ok is false if args begin with another word; then nothing was done. It is for
// images without a shell, in which there is nothing else to ask with.
func Healthcheck(ctx context.Context, program string, args, environ []string, stdout, stderr io.Writer) (code int, ok bool) {
	if len(args) == 0 || args[0] != HealthcheckVerb {
		return 0, false
	}
	console := Console{Program: program, Command: HealthcheckVerb, Environ: environ, Stdout: stdout, Stderr: stderr}
	return console.Run(func(c Console) error {
		var h health
		if err := c.Load(args[1:], &h); err != nil {
			return err
		}
		return h.ask(ctx, c.Stdout)
	}), true
}

// ask writes what the process says of itself, and returns an error unless it says that it is well.
func (h *health) ask(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	path := "/readyz?verbose"
	if h.live {
		path = "/livez"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+process.Reachable(h.adminAddr)+path, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("process does not answer: %w", err)
	}
	defer resp.Body.Close()
	_, copied := io.Copy(w, io.LimitReader(resp.Body, maxHealthText))
	if resp.StatusCode != http.StatusOK {
		return cmp.Or(copied, fmt.Errorf("%s answers %s", path, resp.Status))
	}
	return copied
}
