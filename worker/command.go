package worker

import (
	"context"
	"io"

	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/worker/internal/command"
)

// Command runs the verb that args begin with, such as inspect, pause or healthcheck, and returns the exit code: 0 done, 1 failed, 2 wrong usage, 3 looked and
// found that something is wrong. ok is false if they begin with none; then nothing was done.
func Command(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int, ok bool) {
	if code, ok := operator.Healthcheck(ctx, "worker", args, environ, stdout, stderr); ok {
		return code, true
	}
	return command.Run(ctx, args, environ, stdout, stderr)
}
