package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of the admin port. There is no limit on writing: a profile takes as long as its reader asked for.
const (
	adminHeaderTimeout = 5 * time.Second
	adminReadTimeout   = 15 * time.Second
	adminIdleTimeout   = time.Minute
	adminDrain         = 2 * time.Second // what a request in progress may still take when the server stops
)

// Admin serves a handler on the admin port. It is bound when it is made, so that its address is known before it serves.
type Admin struct {
	listener net.Listener
	server   *http.Server
}

// NewAdmin binds addr (port 0: any free one). log gets what the HTTP server complains about. An Admin that is never run must be closed.
func NewAdmin(addr string, handler http.Handler, log *slog.Logger) (*Admin, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("bind admin port: %w", err)
	}
	return &Admin{listener: listener, server: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: adminHeaderTimeout,
		ReadTimeout:       adminReadTimeout,
		IdleTimeout:       adminIdleTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}, nil
}

// Addr is the bound address, host:port.
func (a *Admin) Addr() string { return a.listener.Addr().String() }

// Close releases the port of an Admin that does not run.
func (a *Admin) Close() error { return a.listener.Close() }

// Run serves until ctx ends, and then lets requests in progress end within 2 s. It is the Run of a lifecycle.Part.
func (a *Admin) Run(ctx context.Context, ready func()) error {
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		a.shut(ctx)
	})
	ready()
	err := a.server.Serve(a.listener)
	if !unhook() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve admin port: %w", err)
}

func (a *Admin) shut(ctx context.Context) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminDrain)
	defer cancel()
	if a.server.Shutdown(bounded) != nil {
		a.server.Close()
	}
}
