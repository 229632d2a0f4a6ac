package natstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
)

// Backup is a stream as the server hands it out: what `nats backup stream` writes into a directory.
type Backup struct {
	Config json.RawMessage
	State  json.RawMessage
	Data   []byte
}

const backupChunk = 128 << 10 // bytes of one message

// TakeBackup asks the server for a stream, by JetStream's own protocol, while it is in use.
func TakeBackup(t testing.TB, conn *nats.Conn, stream string) Backup {
	t.Helper()
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	var info struct{ Config, State, Error json.RawMessage }
	ask(t, conn, "$JS.API.STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": inbox, "no_consumers": true, "chunk_size": backupChunk}, &info)
	if info.Error != nil {
		t.Fatalf("back up %s: %s", stream, info.Error)
	}
	b := Backup{Config: info.Config, State: info.State}
	for {
		msg, err := sub.NextMsg(Patience)
		if err != nil {
			t.Fatalf("back up %s: %v", stream, err)
		}
		if len(msg.Data) == 0 {
			if status := msg.Header.Get("Status"); status != "" && status != "204" {
				t.Fatalf("back up %s: %s %s", stream, status, msg.Header.Get("Description"))
			}
			return b
		}
		b.Data = append(b.Data, msg.Data...)
		if msg.Reply != "" {
			if err := msg.Respond(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// LastSeq is the stream's last sequence when the backup began: what came later is not in it.
func (b *Backup) LastSeq(t testing.TB) uint64 {
	t.Helper()
	var state struct {
		LastSeq uint64 `json:"last_seq"`
	}
	if err := json.Unmarshal(b.State, &state); err != nil {
		t.Fatalf("state is %s: %v", b.State, err)
	}
	return state.LastSeq
}

// Has says whether a message of that subject is in the backup.
func (b *Backup) Has(t testing.TB, subject string) bool {
	t.Helper()
	archive, err := io.ReadAll(s2.NewReader(bytes.NewReader(b.Data)))
	if err != nil {
		t.Fatalf("read backup: %v", err)
	}
	return bytes.Contains(archive, []byte(subject))
}

// Restore makes the stream anew from a backup; it must not be there.
func (b Backup) Restore(t testing.TB, conn *nats.Conn) {
	t.Helper()
	var name struct{ Name string }
	if err := json.Unmarshal(b.Config, &name); err != nil {
		t.Fatal(err)
	}
	var to struct {
		Subject string `json:"deliver_subject"`
		Error   json.RawMessage
	}
	ask(t, conn, "$JS.API.STREAM.RESTORE."+name.Name, map[string]any{"config": b.Config, "state": b.State}, &to)
	if to.Error != nil {
		t.Fatalf("restore %s: %s", name.Name, to.Error)
	}
	for data := b.Data; len(data) > 0; {
		chunk := data[:min(len(data), backupChunk)]
		data = data[len(chunk):]
		if reply := request(t, conn, to.Subject, chunk); len(bytes.TrimSpace(reply)) != 0 {
			t.Fatalf("restore %s: %s", name.Name, reply)
		}
	}
	var end struct{ Error json.RawMessage }
	if err := json.Unmarshal(request(t, conn, to.Subject, nil), &end); err != nil || end.Error != nil {
		t.Fatalf("restore %s: %v %s", name.Name, err, end.Error)
	}
}

func ask(t testing.TB, conn *nats.Conn, subject string, query, reply any) {
	t.Helper()
	data, err := json.Marshal(query)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(request(t, conn, subject, data), reply); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", subject, err))
	}
}

func request(t testing.TB, conn *nats.Conn, subject string, data []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	msg, err := conn.RequestWithContext(ctx, subject, data)
	for errors.Is(err, nats.ErrNoResponders) && again(ctx) { // in a cluster the leader's subscription may not be known everywhere yet
		msg, err = conn.RequestWithContext(ctx, subject, data)
	}
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return msg.Data
}

// again waits a moment; false if ctx has ended.
func again(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(10 * time.Millisecond):
		return true
	}
}
