package broker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// subjectServers is where every server of the system answers what its JetStream is set to. An account can ask there only if the system
// account exports it and the account imports it, as deploy/nats/permissions.conf does.
const subjectServers = "$SYS.REQ.SERVER.PING.JSZ"

// answersWithin bounds how long AskSync waits for servers that do not answer.
const answersWithin = time.Second

// Sync is what the servers say of when they write to disk. Only those with JetStream count.
type Sync struct {
	Always  []string // names of the servers that acknowledge only what is on disk (sync_interval: always)
	Not     []string // names of those that acknowledge first
	Servers int      // how many there are, as far as the ones that answered know
}

// Known: at least one server has answered.
func (s Sync) Known() bool { return len(s.Always)+len(s.Not) > 0 }

// Equal compares by the names.
func (s Sync) Equal(o Sync) bool {
	return s.Servers == o.Servers && slices.Equal(s.Always, o.Always) && slices.Equal(s.Not, o.Not)
}

// AskSync asks all servers whether they sync always. Not Known if nobody answers: the servers may not be asked by this account. An error
// says that nothing could be asked.
func (b *Broker) AskSync(ctx context.Context) (Sync, error) {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	inbox := b.Conn.NewInbox()
	sub, err := b.Conn.SubscribeSync(inbox)
	if err != nil {
		return Sync{}, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails if the connection is closed
	if err := b.Conn.PublishRequest(subjectServers, inbox, nil); err != nil {
		return Sync{}, err
	}
	return gather(ctx, sub)
}

// gather takes answers until all servers have answered or time is up.
func gather(ctx context.Context, sub *nats.Subscription) (s Sync, _ error) {
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders):
			return s.sorted(), nil
		case err != nil:
			return Sync{}, err
		case len(msg.Data) == 0: // nobody is there
			return s.sorted(), nil
		}
		if err := s.take(msg.Data); err != nil {
			return Sync{}, err
		}
		if len(s.Always)+len(s.Not) >= s.Servers {
			return s.sorted(), nil
		}
	}
}

func (s *Sync) take(answer []byte) error {
	var a struct {
		Server struct {
			Name string `json:"name"`
		} `json:"server"`
		Data struct {
			Disabled bool `json:"disabled"`
			Config   struct {
				Always bool `json:"sync_always"`
			} `json:"config"`
			Cluster struct {
				Size int `json:"cluster_size"`
			} `json:"meta_cluster"`
		} `json:"data"`
		Error *struct{} `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return err
	}
	s.Servers = max(s.Servers, a.Data.Cluster.Size, 1)
	switch {
	case a.Error != nil || a.Data.Disabled:
	case a.Data.Config.Always:
		s.Always = append(s.Always, a.Server.Name)
	default:
		s.Not = append(s.Not, a.Server.Name)
	}
	return nil
}

func (s Sync) sorted() Sync {
	slices.Sort(s.Always)
	slices.Sort(s.Not)
	return s
}
