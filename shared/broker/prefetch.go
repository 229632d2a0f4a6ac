package broker

import "github.com/nats-io/nats.go/jetstream"

const (
	prefetchMessages = 64
	// prefetchAround is for what a server counts beside the message: subject and reply subject.
	prefetchAround = 4 << 10
)

// Prefetch is how much of a log its reader asks for in advance: few messages, since each may carry a thousand records, and of a size that the largest
// message fits in. A bound in bytes alone would let a larger message stop the reader for ever, and the client would keep 8 MiB for each
// reader, in case that all messages are empty; without any the server cuts a connection over which too many read at once. Fewer messages make
// a log of small ones slow to read, and with very few the client drops some.
func (b *Broker) Prefetch() jetstream.PullMessagesOpt {
	return jetstream.PullMaxMessagesWithBytesLimit(prefetchMessages, int(b.Conn.MaxPayload())+prefetchAround)
}
