package appender

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A no of the log is final only if it proves that the batch is nowhere: a leader that is about to stop may refuse what the others store.
func TestWhatARefusalProves(t *testing.T) {
	for _, test := range []struct {
		name string
		err  *server.ApiError
		want verdict
	}{
		{"full", server.NewJSStreamStoreFailedError(server.ErrMaxBytes), refused},
		{"too many", server.NewJSStreamStoreFailedError(server.ErrMaxMsgs), refused},
		{"too large", server.NewJSStreamStoreFailedError(server.ErrMsgTooLarge), refused},
		{"no disk", server.NewJSInsufficientResourcesError(), refused},
		{"wrong stream", server.NewJSStreamNotMatchError(), refused},
		{"stopping", server.NewJSStreamStoreFailedError(server.ErrStoreClosed), unclear},
		{"copy", &server.ApiError{ErrCode: codeDuplicateInFlight}, unclear},
	} {
		answer, err := json.Marshal(server.JSPubAckResponse{Error: test.err})
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := judge(&nats.Msg{Data: answer}); got != test.want {
			t.Errorf("%s: %s is %v, want %v", test.name, answer, got, test.want)
		}
	}
}
