package lifecycle

import (
	"context"
	"os/signal"
	"syscall"
)

// Signals returns a context that ends with the first SIGINT or SIGTERM. From then on the signals have their usual effect
// again, so a second one ends the process at once. Call stop when the program has ended; it releases what Signals holds.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, restore := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	unhook := context.AfterFunc(ctx, restore)
	return ctx, func() { unhook(); restore() }
}
