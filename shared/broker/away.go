package broker

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// awayCodes are answers of a broker that is starting or electing. "Not enabled" is what the client makes of nobody
// answering at all.
var awayCodes = []jetstream.ErrorCode{
	10004, // incomplete results
	10005, // no peers for a stream: servers are missing, or too full
	10007, // not assigned to this server
	10008, // cluster unavailable
	10009, // no leader
	10118, // stream offline
	10163, // expected sequence not known yet
	10202, // membership of the cluster is changing
	jetstream.JSErrCodeJetStreamNotEnabled,
}

// errOvertaken: somebody else's write was faster. In a cluster the refusal comes as soon as that is under way, and the leader may not have it yet when it is
// asked next: only trying again tells.
var errOvertaken = errors.New("somebody else is writing the same")

// awayErrors are the client's own, and those of nobody who could tell.
var awayErrors = []error{
	nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
	jetstream.ErrNoStreamResponse, context.DeadlineExceeded, errOvertaken, errNoLeader, errUnread,
}

// Away says whether an error is one of a broker that may yet come (back): it does not answer, is starting, or elects.
func Away(err error) bool { return away(err) }

func away(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return slices.Contains(awayCodes, api.ErrorCode)
	}
	return slices.ContainsFunc(awayErrors, func(e error) bool { return errors.Is(err, e) })
}
