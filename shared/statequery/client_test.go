package statequery

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partition = 3

// own makes conn the owner of the partition until stop is called: answer gets each question, and a nil reply leaves it unanswered.
func own(t *testing.T, conn *nats.Conn, answer func(Request) *Reply) (stop func()) {
	t.Helper()
	sub, err := conn.Subscribe(broker.StateSubject(partition), func(msg *nats.Msg) {
		req, err := DecodeRequest(msg.Data)
		if err != nil {
			t.Errorf("owner cannot read %s: %v", msg.Data, err)
			return
		}
		reply := answer(req)
		if reply == nil {
			return
		}
		data, err := EncodeReply(*reply)
		if err != nil {
			t.Errorf("encode reply: %v", err)
			return
		}
		_ = msg.Respond(data)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = sub.Unsubscribe()
		_ = conn.Flush()
	}
}

func setup(t *testing.T) (client *Client, owner *nats.Conn) {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	return NewClient(srv.Connect()), srv.Connect()
}

func always(reply Reply) func(Request) *Reply {
	return func(Request) *Reply { return &reply }
}

func TestAskIsAnswered(t *testing.T) {
	client, owner := setup(t)
	var asked Request
	own(t, owner, func(req Request) *Reply {
		asked = req
		return &Reply{Applied: 7, Known: []bool{true, false}}
	})
	want := Request{Check: []Check{{Account: "demo", User: "alice"}, {Account: "demo", User: "nobody"}}, WaitMillis: 80}
	reply, err := client.Ask(t.Context(), partition, want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Reply{Applied: 7, Known: []bool{true, false}}, reply); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyThereIsSilentAtOnce(t *testing.T) {
	client, _ := setup(t)
	_, err := client.Ask(t.Context(), partition, Request{WaitSeq: 1, WaitMillis: 30000})
	if !errors.Is(err, ErrSilent) || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("err = %v", err)
	}
}

func TestNoAnswerIsSilent(t *testing.T) {
	client, owner := setup(t)
	own(t, owner, func(Request) *Reply { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := client.Ask(ctx, partition, Request{WaitSeq: 1})
	if !errors.Is(err, ErrSilent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a deadline: %v", err)
	}
	if _, err = client.Ask(context.Background(), partition, Request{WaitSeq: 1}); !errors.Is(err, ErrSilent) {
		t.Errorf("without a deadline: %v", err)
	}
}

func TestWordsAreErrors(t *testing.T) {
	client, owner := setup(t)
	var word string
	own(t, owner, func(Request) *Reply { return &Reply{Applied: 7, Error: word} })
	for w, want := range map[string]error{
		WordNotFound: ErrNotFound, WordExpired: ErrExpired, WordBehind: ErrBehind, WordBadRequest: ErrBadRequest,
		WordOverloaded: ErrOverloaded, "a word of the future": ErrMalformed,
	} {
		word = w
		reply, err := client.Ask(t.Context(), partition, Request{WaitSeq: 9})
		if !errors.Is(err, want) || reply.Applied != 7 {
			t.Errorf("%s: %+v, %v; want %v", w, reply, err, want)
		}
	}
}

// An owner of an earlier build does not know every question. It refuses those that it does not, and the asker is told so at once.
func TestEarlierOwnersRefuseLaterQuestions(t *testing.T) {
	client, owner := setup(t)
	sub, err := owner.Subscribe(broker.StateSubject(partition), func(msg *nats.Msg) {
		known := strings.Replace(string(msg.Data), `"status"`, `"a question of a later build"`, 1)
		if _, err := DecodeRequest([]byte(known)); !errors.Is(err, ErrBadRequest) {
			t.Errorf("the earlier owner reads it as %v", err)
		}
		_ = msg.Respond([]byte(`{"applied":0,"error":"bad_request"}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := owner.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Ask(t.Context(), partition, Request{Status: &StatusOf{}}); !errors.Is(err, ErrBadRequest) {
		t.Errorf("err = %v", err)
	}
}

func TestBadRequestIsNotSent(t *testing.T) {
	client, owner := setup(t)
	own(t, owner, func(req Request) *Reply { t.Errorf("asked %+v", req); return nil })
	if _, err := client.Ask(t.Context(), partition, Request{}); !errors.Is(err, ErrBadRequest) {
		t.Errorf("err = %v", err)
	}
}

func TestMalformedRepliesAreErrors(t *testing.T) {
	client, owner := setup(t)
	var reply string
	sub, err := owner.Subscribe(broker.StateSubject(partition), func(msg *nats.Msg) { _ = msg.Respond([]byte(reply)) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := owner.Flush(); err != nil {
		t.Fatal(err)
	}
	check := Request{Check: []Check{{Account: "demo", User: "alice"}}}
	keyed := Request{Check: []Check{{"demo", "alice", "k"}}}
	outcome := Request{Outcome: &OutcomeOf{Account: "demo", ID: "3-1-0"}}
	for _, c := range []struct {
		req   Request
		reply string
	}{
		{check, ``}, {check, `{`}, {check, `[]`}, {check, `{"applied":-1}`}, {check, `{"applied":1}x`},
		{check, `{"applied":1}`}, {check, `{"applied":1,"known":[true,true]}`}, {check, `{"applied":1,"error":"behind"}`},
		{keyed, `{"applied":1,"known":[true]}`}, {keyed, `{"applied":1,"known":[true],"keys":[{},{}]}`},
		{outcome, `{"applied":1}`}, {Request{Status: &StatusOf{}}, `{"applied":1}`},
	} {
		reply = c.reply
		if _, err := client.Ask(t.Context(), partition, c.req); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: err = %v", c.reply, err)
		}
	}
}

func TestOutcomeThatIsFinalIsReturnedAtOnce(t *testing.T) {
	client, owner := setup(t)
	want := Outcome{TriggerID: "3-17-2", UserID: "alice", Kind: "register", Status: StatusApplied, AcceptedAt: 1, AppliedAt: 2, UserVersion: 1}
	own(t, owner, func(req Request) *Reply {
		if diff := cmp.Diff(&OutcomeOf{Account: "demo", ID: "3-17-2", Final: true}, req.Outcome); diff != "" {
			t.Error(diff)
		}
		return &Reply{Outcome: &want}
	})
	id := record.ID{Partition: partition, Position: record.Position{Seq: 17, Index: 2}}
	got, err := client.OutcomeAt(t.Context(), "demo", id, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOutcomeWithoutWaitAsksOnceAndDoesNotHold(t *testing.T) {
	client, owner := setup(t)
	var asked atomic.Int32
	own(t, owner, func(req Request) *Reply {
		asked.Add(1)
		if req.Outcome.Final || req.WaitMillis != 0 {
			t.Errorf("asked to hold: %+v", req)
		}
		return &Reply{Outcome: &Outcome{Status: StatusScheduled}}
	})
	got, err := client.Outcome(t.Context(), "demo", partition, "3-17-2", 0)
	if err != nil || got.Status != StatusScheduled || asked.Load() != 1 {
		t.Errorf("%+v, %v after %d questions", got, err, asked.Load())
	}
}

// The owner goes, nobody answers for a while, and the next owner has the answer.
func TestOutcomeOutlastsAChangeOfOwner(t *testing.T) {
	client, owner := setup(t)
	first := make(chan struct{}, 1000)
	stop := own(t, owner, func(Request) *Reply {
		first <- struct{}{}
		return &Reply{Outcome: &Outcome{Status: StatusScheduled}}
	})
	go func() {
		<-first
		stop()
		own(t, owner, always(Reply{Outcome: &Outcome{Status: StatusRedirected}}))
	}()
	got, err := client.Outcome(t.Context(), "demo", partition, "3-17-2", natstest.Patience)
	if err != nil || got.Status != StatusRedirected {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOutcomeNeverAsksToHoldLongerThanRemains(t *testing.T) {
	client, owner := setup(t)
	const wait = 200 * time.Millisecond
	last := wait.Milliseconds() + 1
	own(t, owner, func(req Request) *Reply {
		if req.WaitMillis >= last {
			t.Errorf("may hold %d ms after %d ms", req.WaitMillis, last)
		}
		last = max(req.WaitMillis, 1)
		return &Reply{Outcome: &Outcome{Status: StatusScheduled}}
	})
	got, err := client.Outcome(t.Context(), "demo", partition, "3-17-2", wait)
	if err != nil || got.Status != StatusScheduled {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOutcomeKeepsWhatIsKnownWhenTheOwnerFallsSilent(t *testing.T) {
	client, owner := setup(t)
	var stop func()
	asked := make(chan struct{}, 1000)
	stop = own(t, owner, func(Request) *Reply {
		asked <- struct{}{}
		return &Reply{Outcome: &Outcome{Status: StatusScheduled}}
	})
	go func() { <-asked; stop() }()
	got, err := client.Outcome(t.Context(), "demo", partition, "3-17-2", 300*time.Millisecond)
	if err != nil || got.Status != StatusScheduled {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOutcomeOfNobodyIsSilent(t *testing.T) {
	client, _ := setup(t)
	for _, wait := range []time.Duration{0, 50 * time.Millisecond} {
		if got, err := client.Outcome(t.Context(), "demo", partition, "3-17-2", wait); !errors.Is(err, ErrSilent) {
			t.Errorf("wait %v: %+v, %v", wait, got, err)
		}
	}
}

func TestOutcomeEndsWithItsContext(t *testing.T) {
	client, owner := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	own(t, owner, func(Request) *Reply { cancel(); return nil })
	_, err := client.Outcome(ctx, "demo", partition, "3-17-2", MaxWait)
	if !errors.Is(err, ErrSilent) || !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestFinalWordsEndAnOutcomesWait(t *testing.T) {
	client, owner := setup(t)
	var word string
	var asked int
	own(t, owner, func(Request) *Reply { asked++; return &Reply{Error: word} })
	for w, want := range map[string]error{WordNotFound: ErrNotFound, WordExpired: ErrExpired, WordBadRequest: ErrBadRequest} {
		word, asked = w, 0
		if _, err := client.Outcome(t.Context(), "demo", partition, "3-17-2", natstest.Patience); !errors.Is(err, want) || asked != 1 {
			t.Errorf("%s: %v after %d questions", w, err, asked)
		}
	}
}

// A batch whose acknowledgement was lost may reach the log after its receipt was given out: while the caller waits, "not found" is not yet the end.
func TestReceiptMayStillArrive(t *testing.T) {
	client, owner := setup(t)
	var asked int
	own(t, owner, func(Request) *Reply {
		if asked++; asked < 4 {
			return &Reply{Error: WordNotFound}
		}
		return &Reply{Outcome: &Outcome{Status: StatusApplied}}
	})
	receipt := "r-3-" + strings.Repeat("w", 12) + "-9-0"
	got, err := client.Outcome(t.Context(), "demo", partition, receipt, natstest.Patience)
	if err != nil || got.Status != StatusApplied || asked != 4 {
		t.Errorf("%+v, %v after %d questions", got, err, asked)
	}
	asked = 0
	if _, err := client.Outcome(t.Context(), "demo", partition, receipt, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a wait: %v", err)
	}
}
