// Package ports finds addresses of loopback for servers that are killed and must be found again where they were.
//
// A port that is merely free is not enough: while its server is down, another test's server, or a client of anybody's, can take it. So the
// numbers are below those that the system gives to clients (net.ipv4.ip_local_port_range), and each is kept from the tests of all
// processes on the machine by a UDP socket of the same number, which no server here uses and which ends with its process.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// The range of Reserve, in which its lowest is and its highest is not.
const (
	lowest  = 15000
	highest = 30000
)

// tries is how many numbers are looked at; with so many, a machine must be all but full for none to be free.
const tries = 1000

// Reserve returns an address of 127.0.0.1 where nobody listens for TCP, and which no other call on this machine returns until release is
// called or the process ends. Safe for concurrent use.
func Reserve() (addr string, release func(), err error) {
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest))
		mark, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			mark.Close()
			continue
		}
		ln.Close()
		return addr, func() { mark.Close() }, nil
	}
	return "", nil, errors.New("reserve a port: none is free")
}
