package natstest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"sync"
)

// Member is one server of a Cluster. Its methods exclude each other by contract.
type Member struct {
	c           *Cluster
	name, dir   string
	config      string
	env         []string
	addr, route string // host:port
	log         logBuffer

	cmd    *exec.Cmd // nil: down
	stdin  io.Closer
	said   *report // of the process that runs now, or ran last
	reader sync.WaitGroup
}

// Name is what the server calls itself.
func (m *Member) Name() string { return m.name }

// URL is the server's address; it stays the same.
func (m *Member) URL() string { return "nats://" + m.addr }

// Boot starts a member that is down and waits until it takes connections. Whether it has a quorum is another matter.
func (m *Member) Boot() {
	m.c.t.Helper()
	m.start()
	m.await(saysReady)
}

// AwaitCurrent waits until the member knows what the others know.
func (m *Member) AwaitCurrent() {
	m.c.t.Helper()
	m.await(saysCurrent)
}

func (m *Member) start() {
	m.c.t.Helper()
	if m.cmd != nil {
		m.c.t.Fatalf("boot %s: it is running", m.name)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), append(m.env, envConfig+"="+m.config, envAddr+"="+m.addr)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		m.c.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		m.c.t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		m.c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.c.t.Fatalf("boot %s: %v", m.name, err)
	}
	m.cmd, m.stdin, m.said = cmd, stdin, &report{}
	said := m.said
	m.reader.Go(func() { said.listen(stdout) })
	m.reader.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			m.log.take(lines.Text())
		}
	})
}

// await waits until the process has said so.
func (m *Member) await(word string) {
	m.c.t.Helper()
	Eventually(m.c.t, func() bool {
		ok, over := m.said.has(word)
		if !ok && over {
			m.c.t.Fatalf("%s ended before it was %s:\n%s", m.name, word, m.log.String())
		}
		return ok
	}, "%s is %s", m.name, word)
}

// Kill is kill -9.
func (m *Member) Kill() {
	m.c.t.Helper()
	if m.cmd == nil {
		m.c.t.Fatalf("kill %s: it is not running", m.name)
	}
	_ = m.cmd.Process.Kill()
	m.gather()
}

// Stop ends the server in good order. Does nothing if it is down.
func (m *Member) Stop() {
	if m.cmd == nil {
		return
	}
	m.stdin.Close()
	m.gather()
}

// gather waits for the process that is about to end.
func (m *Member) gather() {
	m.reader.Wait()
	_ = m.cmd.Wait() // it was killed, or says in its log why it failed
	m.cmd = nil
}

// end is the test's.
func (m *Member) end() {
	if m.cmd != nil {
		m.Kill()
	}
	if m.c.t.Failed() {
		m.c.t.Logf("log of %s:\n%s", m.name, m.log.String())
	}
}
