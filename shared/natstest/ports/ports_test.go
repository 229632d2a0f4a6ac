package ports_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest/ports"
)

// many is more than chance would let pass: of two processes with so many numbers each, nearly all share some.
const many = 300

// No two calls get the same address, in one process or in two; each can be listened on; a released one can be had again.
func TestReserve(t *testing.T) {
	if os.Getenv("RESERVE") != "" {
		for range many {
			addr, _, err := ports.Reserve()
			if err != nil {
				t.Fatal(err)
			}
			os.Stdout.WriteString(addr + "\n")
		}
		return
	}
	taken := map[string]bool{}
	for range many {
		addr, release, err := ports.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		if taken[addr] {
			t.Fatalf("%s twice", addr)
		}
		taken[addr] = true
	}
	for addr := range taken {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestReserve$")
	cmd.Env = append(os.Environ(), "RESERVE=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if addr := strings.TrimSpace(line); strings.Contains(addr, ":") {
			n++
			if taken[addr] {
				t.Fatalf("another process got %s as well", addr)
			}
		}
	}
	if n != many {
		t.Fatalf("the other process got %d addresses, want %d", n, many)
	}
}

func TestReleased(t *testing.T) {
	addr, release, err := ports.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	if mark, err := net.ListenPacket("udp", addr); err == nil {
		mark.Close()
		t.Fatal("reserved without a mark")
	}
	release()
	mark, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatalf("still marked once released: %v", err)
	}
	mark.Close()
}
