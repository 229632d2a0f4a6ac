package natstest

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Environment of a child process.
const (
	envConfig = "TRIGGERD_NATSTEST_CONFIG" // the configuration file; set: be a server
	envAddr   = "TRIGGERD_NATSTEST_ADDR"   // where to listen, whatever the file says
)

// What a child says on its standard output, each when it becomes true.
const (
	saysReady   = "ready"   // clients can connect
	saysCurrent = "current" // JetStream knows all that its peers know
	saysLeads   = "leads "  // and how many servers, itself among them, it would now place a stream on; 0: another one leads
)

// BeServer is called first in the TestMain of a package whose tests start a Cluster: the members are the test's own binary, started again.
// In such a process it does not return.
func BeServer() {
	file := os.Getenv(envConfig)
	if file == "" {
		return
	}
	if err := serve(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve runs a nats-server until standard input ends, as it does when the parent dies.
func serve(file string) error {
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddrPort(os.Getenv(envAddr))
	if err != nil {
		return err
	}
	opts.Port = int(addr.Port())
	opts.NoSigs = true
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	srv.SetLoggerV2(printer{}, false, false, false)
	srv.Start()
	told := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(told) }()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	if !srv.ReadyForConnections(Patience) {
		return errors.New("not ready for connections")
	}
	fmt.Println(saysReady)
	say(srv, told)
	return nil
}

// say tells what becomes of the server in its cluster, until told to stop.
func say(srv *server.Server, told <-chan struct{}) {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	var current bool
	var leads int
	for {
		if !current && (srv.JetStreamIsCurrent() || alone(srv)) {
			current = true
			fmt.Println(saysCurrent)
		}
		if srv.JetStreamIsClustered() {
			if n := len(srv.JetStreamClusterPeers()); n != leads {
				leads = n
				fmt.Println(saysLeads + strconv.Itoa(n))
			}
		}
		select {
		case <-poll.C:
		case <-told:
			return
		}
	}
}

func alone(srv *server.Server) bool { return srv.JetStreamEnabled() && !srv.JetStreamIsClustered() }

// printer writes the server's log to standard error, where the parent gathers it.
type printer struct{}

func (printer) print(level, format string, v []any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05.000 ")+level+" "+format+"\n", v...)
}

func (p printer) Noticef(format string, v ...any) { p.print("INF", format, v) }
func (p printer) Warnf(format string, v ...any)   { p.print("WRN", format, v) }
func (p printer) Fatalf(format string, v ...any)  { p.print("FTL", format, v); os.Exit(1) }
func (p printer) Errorf(format string, v ...any)  { p.print("ERR", format, v) }
func (p printer) Debugf(format string, v ...any)  { p.print("DBG", format, v) }
func (p printer) Tracef(format string, v ...any)  { p.print("TRC", format, v) }
