package revocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// undoneFor is how long the bucket remembers that a revocation was undone: longer than any watch is interrupted unnoticed.
const undoneFor = time.Hour

// maxTTL is as long as the broker removes a key by itself; it counts nanoseconds. A later end is as good as none.
const maxTTL = 100 * 365 * 24 * time.Hour

// Errors of Revoke, Undo and List.
var (
	// ErrFull: the bucket holds as many revocations as it may.
	ErrFull = errors.New("as many tokens are revoked as can be: undo some, give each an end (-until), or take the key away that signed them")
	// ErrOver: the token has expired.
	ErrOver = errors.New("it has expired by then: there is nothing to revoke")
)

// Revoke takes a token back, at every ingress within moments; one that was already is revoked anew, with the new end. When it returns nil the broker has stored
// it. Other errors than ErrFull, ErrOver and those of CheckTokenID are the broker's, and repeating is safe.
func Revoke(ctx context.Context, b *broker.Broker, r Revocation) error {
	if err := CheckTokenID(r.TokenID); err != nil {
		return err
	}
	r.At = time.Now()
	ttl, err := r.ttl()
	if err != nil {
		return err
	}
	data, err := r.encode()
	if err != nil {
		return fmt.Errorf("encode revocation: %w", err)
	}
	return explained(b.KVPut(ctx, Bucket, Of(r.TokenID).key(), data, ttl))
}

// ttl is how long the broker keeps it; 0: until it is undone.
func (r Revocation) ttl() (time.Duration, error) {
	if r.Until.IsZero() {
		return 0, nil
	}
	left := r.Until.Add(margin).Sub(r.At)
	switch {
	case left < time.Second:
		return 0, ErrOver
	case left > maxTTL:
		return 0, nil
	}
	return left, nil
}

// Undo lets a token pass again. It does nothing to one that is not revoked; was tells which.
func Undo(ctx context.Context, b *broker.Broker, jti string) (was bool, err error) {
	if err := CheckTokenID(jti); err != nil {
		return false, err
	}
	key := Of(jti).key()
	if _, _, err := b.KVGet(ctx, Bucket, key); errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, explained(b.KVPurge(ctx, Bucket, key, undoneFor))
}

// Codes of a stream that refuses because it is full: 10077 with the cause as text, as for its number of keys and its bytes.
const codeStoreFailed = 10077

func explained(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeStoreFailed {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// List reads all revocations that have not ended, by jti. One that cannot be read has its key for a jti.
func List(ctx context.Context, b *broker.Broker) ([]Revocation, error) {
	entries, err := b.List(ctx, Bucket)
	if err != nil {
		return nil, err
	}
	all := make([]Revocation, 0, len(entries))
	for _, entry := range entries {
		all = append(all, revocationOf(entry))
	}
	slices.SortFunc(all, func(a, b Revocation) int { return cmp.Compare(a.TokenID, b.TokenID) })
	return all, nil
}

func revocationOf(entry jetstream.KeyValueEntry) Revocation {
	v, err := parse(entry.Value())
	if err != nil {
		return Revocation{TokenID: entry.Key(), At: entry.Created(), Reason: "cannot be read: " + err.Error()}
	}
	return Revocation{TokenID: v.TokenID, Until: v.Until, At: v.At, Who: v.Who, Reason: v.Reason}
}
