package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/triggerd/triggerd/shared/record"
)

// States of a log in BucketDeployment, in life order.
const (
	logIntended = "intended" // its streams may be there or not; nobody uses them yet
	logCreated  = "created"  // its streams and its first record were there; never make them again
)

// logEntry is what BucketDeployment knows of one partition's log.
type logEntry struct {
	ID    string `json:"id"`
	State string `json:"state"`

	entry entry
}

// partition makes partition p's log, or recognises it, and returns its id.
func (e *ensurer) partition(ctx context.Context, p int) (string, error) {
	entry, err := e.claim(ctx, p)
	if err != nil {
		return "", err
	}
	if entry.State == logCreated {
		return entry.ID, e.recogniseBoth(ctx, p, entry.ID)
	}
	return entry.ID, e.create(ctx, p, entry)
}

// claim reads partition p's entry, or claims a new log id. Of several claims at once one stands, for all.
func (e *ensurer) claim(ctx context.Context, p int) (logEntry, error) {
	found, err := e.entryOf(ctx, BucketDeployment, logKey(p))
	if err != nil {
		return logEntry{}, err
	}
	if found.live {
		return readLog(found)
	}
	claimed := logEntry{ID: nuid.Next(), State: logIntended}
	value, err := json.Marshal(claimed)
	if err != nil {
		return logEntry{}, err
	}
	if err := e.write(ctx, found, value); err != nil {
		return logEntry{}, err
	}
	return e.logEntry(ctx, p)
}

// logEntry reads partition p's entry, which is there.
func (e *ensurer) logEntry(ctx context.Context, p int) (logEntry, error) {
	found, err := e.entryOf(ctx, BucketDeployment, logKey(p))
	if err != nil {
		return logEntry{}, err
	}
	if !found.live {
		return logEntry{}, fmt.Errorf("read key %s of bucket %s: %w", logKey(p), BucketDeployment, jetstream.ErrKeyNotFound)
	}
	return readLog(found)
}

func readLog(found entry) (logEntry, error) {
	log := logEntry{entry: found}
	if err := json.Unmarshal(found.value, &log); err != nil {
		return logEntry{}, fmt.Errorf("read key %s of bucket %s: %w", found.key, found.bucket, err)
	}
	if log.ID == "" || log.State != logIntended && log.State != logCreated {
		return logEntry{}, fmt.Errorf("read key %s of bucket %s: unknown state %q: run a newer triggerd", found.key, found.bucket, log.State)
	}
	return log, nil
}

// create makes the streams and the first record of an intended log. Every step can be repeated, by anybody, until the
// last one has been done by somebody.
func (e *ensurer) create(ctx context.Context, p int, entry logEntry) error {
	if err := e.makeOwn(ctx, e.settings.triggersConfig(p, entry.ID), entry.ID); err != nil {
		return err
	}
	if err := e.makeOwn(ctx, e.settings.eventsConfig(p, entry.ID), entry.ID); err != nil {
		return err
	}
	if err := e.configure(ctx, p); err != nil {
		return err
	}
	return e.markCreated(ctx, p, entry)
}

// makeOwn makes a stream of partition p's log, or recognises it: it may have been made by us with other settings, or by a stranger.
func (e *ensurer) makeOwn(ctx context.Context, cfg jetstream.StreamConfig, logID string) error {
	info, err := e.makeStream(ctx, cfg)
	if err == nil && info != nil {
		err = e.recognise(info, logID)
	}
	if err != nil {
		return fmt.Errorf("make stream %s: %w", cfg.Name, err)
	}
	return nil
}

// configure writes the first record of a log. The expected sequence 0 makes it exactly one: a refusal says that somebody,
// perhaps this process before a lost answer, has written it, or is about to.
func (e *ensurer) configure(ctx context.Context, p int) error {
	config := record.Record{Kind: record.Configure, Limits: e.settings.Limits}
	batch := record.Batch{Version: config.Version(), Writer: nuid.Next(), Time: time.Now().UnixMilli(), Count: 1, Payload: config.AppendTo(nil)}
	msg := &nats.Msg{Subject: TriggersSubject(p), Header: batch.Header(), Data: batch.Payload}
	msg.Header.Set(jetstream.ExpectedLastSeqHeader, "0")
	msg.Header.Set(jetstream.ExpectedStreamHeader, TriggersStream(p))
	err := waiting(e.request(ctx, msg, nil))
	if wrongSequence(err) {
		_, err = e.Message(ctx, p, 1)
		if err = waiting(err); errors.Is(err, jetstream.ErrMsgNotFound) {
			err = errOvertaken
		}
	}
	if err != nil {
		return fmt.Errorf("write first record of %s: %w", TriggersStream(p), err)
	}
	return nil
}

// wrongSequence: the server has another last sequence than expected.
func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

func (e *ensurer) markCreated(ctx context.Context, p int, entry logEntry) error {
	entry.State = logCreated
	value, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	if err := e.write(ctx, entry.entry, value); err != nil { // somebody was faster, or the entry is another one: the next round tells
		return fmt.Errorf("mark log %s as created: %w", entry.ID, err)
	}
	e.log.Info("log created", "stream", TriggersStream(p), "log_id", entry.ID)
	return nil
}

// recogniseBoth checks the streams of a created log and reports what differs from the settings.
func (e *ensurer) recogniseBoth(ctx context.Context, p int, logID string) error {
	for _, want := range []jetstream.StreamConfig{e.settings.triggersConfig(p, logID), e.settings.eventsConfig(p, logID)} {
		info, err := e.known(ctx, want.Name, p, logID)
		if err != nil {
			return fmt.Errorf("check stream %s: %w", want.Name, err)
		}
		if err := e.align(ctx, info, want); err != nil {
			return err
		}
	}
	return nil
}
