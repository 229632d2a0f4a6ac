package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// variant is a server to measure.
type variant struct {
	name     string
	baseline bool // it only answers like triggerd
	serve    ServeConfig
}

// target is a running server.
type target struct {
	addr, token string
	metrics     prometheus.Gatherer // of its worker; nil: it has none
	stop        func() error
}

// variants are the two to compare with, in this order, and triggerd with each number of partitions.
func variants(partitions Counts) []variant {
	list := []variant{
		{"echo: empty handler, same answer", true, ServeConfig{Server: emptyEcho, Partitions: 1}},
		{"jetstream: one synced message a request", true, ServeConfig{Server: oneMessage, Partitions: 1}},
	}
	for _, applying := range []bool{false, true} {
		for _, p := range partitions {
			list = append(list, variant{fmt.Sprintf("triggerd: P = %d, %s", p, map[bool]string{false: "not applying", true: "applying and emitting"}[applying]),
				false, ServeConfig{Server: whole, Partitions: p, Applying: applying}})
		}
	}
	return list
}

// answer is what triggerd answers, byte for byte but for the id.
const answer = `{"message":"1","error":[],"trigger_id":"7-10482-3","redirect":true}`

// tokenLength is that of a real token, so that requests are as long.
const tokenLength = 380

// serve runs an Echo with one handler.
func serve(handler echo.HandlerFunc, stop func() error) (*target, error) {
	e := echo.New()
	e.POST("/actionsvc/trigger-response/", handler)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return &target{addr: listener.Addr().String(), token: strings.Repeat("t", tokenLength), stop: func() error {
		err := server.Close()
		if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return errors.Join(err, stop())
	}}, nil
}

func startEcho() (*target, error) {
	return serve(func(c echo.Context) error {
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, []byte(answer))
	}, func() error { return nil })
}

// startJetStream is what one writes first: publish the body, wait until it is stored and synced, answer.
func startJetStream(ctx context.Context, dir string) (*target, error) {
	srv, err := startServer(filepath.Join(dir, "nats"))
	if err != nil {
		return nil, err
	}
	js, err := makeStream(ctx, srv.conn)
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	t, err := serve(func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		if _, err := js.Publish(c.Request().Context(), "bench", body); err != nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable, err.Error())
		}
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, []byte(answer))
	}, srv.stop)
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	return t, nil
}

func makeStream(ctx context.Context, conn *nats.Conn) (jetstream.JetStream, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "BENCH", Subjects: []string{"bench"}, Storage: jetstream.FileStorage})
	return js, err
}
