package worker

import (
	"context"
	"io"

	"github.com/triggerd/triggerd/worker/internal/command"
)

// Command runs the verb that args begin with, such as inspect or pause, and returns the exit code: 0 done, 1 failed, 2 wrong usage, 3 looked and
// found that something is wrong. ok is false if they begin with none; then nothing was done.
func Command(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int, ok bool) {
	return command.Run(ctx, args, environ, stdout, stderr)
}
