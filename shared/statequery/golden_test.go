package statequery

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

// Ingress and worker of different builds talk to each other while a deployment is being updated, so these bytes must not change:
// not the names, not what is left out, and not the characters of a variable's value.
var goldenRequests = map[string]Request{
	`{"check":[{"account":"demo","user":"alice"},{"account":"demo","user":"b\"<ö>&"}]}`: {
		Check: []Check{{"demo", "alice", ""}, {"demo", `b"<ö>&`, ""}},
	},
	`{"check":[{"account":"demo","user":"alice","key":"\"<order-17>~\\"},{"account":"demo","user":"bob"}],"wait_ms":80}`: {
		Check: []Check{{"demo", "alice", `"<order-17>~\`}, {"demo", "bob", ""}}, WaitMillis: 80,
	},
	`{"check":[{"account":"demo","user":"alice"}],"wait_ms":80}`: {
		Check: []Check{{"demo", "alice", ""}}, WaitMillis: 80,
	},
	`{"user":{"account":"demo","user":"alice"},"wait_seq":17,"wait_ms":5000}`: {
		User: &User{"demo", "alice"}, WaitSeq: 17, WaitMillis: 5000,
	},
	`{"outcome":{"account":"demo","id":"7-10482-3"}}`: {
		Outcome: &OutcomeOf{Account: "demo", ID: "7-10482-3"},
	},
	`{"outcome":{"account":"demo","id":"r-7-Xk2-9-0","final":true},"wait_ms":30000}`: {
		Outcome: &OutcomeOf{Account: "demo", ID: "r-7-Xk2-9-0", Final: true}, WaitMillis: 30000,
	},
	`{"dead_letters":{"account":"demo","limit":100}}`: {
		DeadLetters: &DeadLettersOf{Account: "demo", Limit: 100},
	},
	`{"status":{}}`: {
		Status: &StatusOf{},
	},
	`{"status":{"digest":true},"wait_seq":17,"wait_ms":1000}`: {
		Status: &StatusOf{Digest: true}, WaitSeq: 17, WaitMillis: 1000,
	},
	`{"wait_seq":18446744073709551615,"wait_ms":1}`: {
		WaitSeq: 1<<64 - 1, WaitMillis: 1,
	},
}

func TestGoldenRequests(t *testing.T) {
	for want, req := range goldenRequests {
		got, err := EncodeRequest(req)
		if err != nil || string(got) != want {
			t.Errorf("EncodeRequest: %v\n got %s\nwant %s", err, got, want)
		}
		back, err := DecodeRequest([]byte(want))
		if err != nil {
			t.Errorf("DecodeRequest(%s): %v", want, err)
		}
		if diff := cmp.Diff(req, back); diff != "" {
			t.Errorf("DecodeRequest(%s): %s", want, diff)
		}
	}
}

// As for the requests; the raw values show that "kept as sent" holds on this way too.
var goldenReplies = map[string]Reply{
	`{"applied":10482,"known":[true,false]}`: {Applied: 10482, Known: []bool{true, false}},
	`{"applied":3,"known":[true,true],"keys":[{"trigger_id":"7-10482-3","print":"1nQ0kmz7XJqk4e2fZ"},{}],"keys_full":true}`: {
		Applied: 3, Known: []bool{true, true}, Keys: []KnownKey{{"7-10482-3", "1nQ0kmz7XJqk4e2fZ"}, {}}, KeysFull: true,
	},
	`{"applied":10482}`:                   {Applied: 10482},
	`{"applied":0,"error":"not_found"}`:   {Error: WordNotFound},
	`{"applied":0,"error":"expired"}`:     {Error: WordExpired},
	`{"applied":0,"error":"bad_request"}`: {Error: WordBadRequest},
	`{"applied":3,"known":[true,false],"error":"behind"}`: {
		Applied: 3, Known: []bool{true, false}, Error: WordBehind,
	},
	`{"applied":0,"error":"overloaded"}`: {Error: WordOverloaded},
	`{"applied":9,"user":{"bot_id":"shop","module_id":1068935,"custom_vars":{"a":1e400,"b":"<&>\u2028"},"version":3,"updated_at":1700000000123,` +
		`"pending":[{"trigger_id":"7-10482-3","module_id":5,"due_at":1700000003123}],` +
		`"changes":[{"trigger_id":"7-10482-3","at":1700000000123,"module_before":null,"module_after":1068935,"variables":["a","b"]}]}}`: {
		Applied: 9,
		User: &UserState{
			BotID: "shop", ModuleID: ptr[int64](1068935), Version: 3, UpdatedAt: 1700000000123,
			Vars:    map[string]json.RawMessage{"a": json.RawMessage("1e400"), "b": json.RawMessage(`"<&>\u2028"`)},
			Pending: []Pending{{TriggerID: "7-10482-3", ModuleID: 5, DueAt: 1700000003123}},
			Changes: []Change{{TriggerID: "7-10482-3", At: 1700000000123, ModuleAfter: ptr[int64](1068935), Variables: []string{"a", "b"}}},
		},
	},
	`{"applied":9,"outcome":{"trigger_id":"7-10482-3","user_id":"alice","kind":"trigger","status":"redirected","accepted_at":1,"applied_at":2,"user_version":3}}`: {
		Applied: 9,
		Outcome: &Outcome{TriggerID: "7-10482-3", UserID: "alice", Kind: "trigger", Status: StatusRedirected, AcceptedAt: 1, AppliedAt: 2, UserVersion: 3},
	},
	`{"applied":9,"outcome":{"trigger_id":"7-10482-4","user_id":"bob","kind":"trigger","status":"rejected","reason":"unknown_user","accepted_at":1}}`: {
		Applied: 9,
		Outcome: &Outcome{TriggerID: "7-10482-4", UserID: "bob", Kind: "trigger", Status: StatusRejected, Reason: "unknown_user", AcceptedAt: 1},
	},
	`{"applied":9,"outcome":{"trigger_id":"7-10483-0","user_id":"bob","kind":"register","status":"duplicate","duplicate_of":"7-10482-4","accepted_at":1}}`: {
		Applied: 9,
		Outcome: &Outcome{TriggerID: "7-10483-0", UserID: "bob", Kind: "register", Status: StatusDuplicate, DuplicateOf: "7-10482-4", AcceptedAt: 1},
	},
	`{"applied":9,"status":{"owner":"w","state":"serving","since":1,"last":12,"oldest_age_ms":30,"events":8,"emitted":7,"pending_redirects":2,` +
		`"users":3,"stream_time":4,"checkpoint_seq":6,"checkpoint_age_ms":50,"digest":"00000000000000ff",` +
		`"limits":{"machine":1,"max_user_bytes":2,"max_pending":3,"outcomes_keep_ms":4,"max_keys":5,"keys_keep_ms":6}}}`: {
		Applied: 9,
		Status: &Status{Owner: "w", State: "serving", Since: 1, Last: 12, OldestAge: 30, Events: 8, Emitted: 7, Pending: 2, Users: 3,
			StreamTime: 4, CheckpointSeq: 6, CheckpointAge: 50, Digest: "00000000000000ff",
			Limits: Limits{Machine: 1, MaxUserBytes: 2, MaxPending: 3, OutcomesKeep: 4, MaxKeys: 5, KeysKeep: 6}},
	},
	`{"applied":9,"status":{"owner":"w","state":"serving","since":1,"last":9,"events":8,"emitted":8,"pending_redirects":0,` +
		`"users":0,"stream_time":0,"checkpoint_seq":9,"limits":{"machine":0,"max_user_bytes":0,"max_pending":0,"outcomes_keep_ms":0,"max_keys":0,"keys_keep_ms":0}}}`: {
		Applied: 9,
		Status:  &Status{Owner: "w", State: "serving", Since: 1, Last: 9, Events: 8, Emitted: 8, CheckpointSeq: 9},
	},
	`{"applied":9,"dead_letters":[{"id":"7-9-0","whole_batch":true,"reason":"malformed batch","at":1,"size":20},{"id":"7-9-1","account":"demo","reason":"r","at":1,"size":2}]}`: {
		Applied: 9,
		DeadLetters: []DeadLetter{
			{ID: "7-9-0", Whole: true, Reason: "malformed batch", At: 1, Size: 20},
			{ID: "7-9-1", Account: "demo", Reason: "r", At: 1, Size: 2},
		},
	},
}

func TestGoldenReplies(t *testing.T) {
	for want, reply := range goldenReplies {
		got, err := EncodeReply(reply)
		if err != nil || string(got) != want {
			t.Errorf("EncodeReply: %v\n got %s\nwant %s", err, got, want)
		}
		back, err := decodeReply(Request{}, []byte(want))
		if err != nil {
			t.Errorf("decodeReply(%s): %v", want, err)
		}
		if diff := cmp.Diff(reply, back); diff != "" {
			t.Errorf("decodeReply(%s): %s", want, diff)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	long := strings.Repeat("x", 257)
	for name, data := range map[string]string{
		"nothing":                     ``,
		"not an object":               `[]`,
		"null":                        `null`,
		"no question":                 `{}`,
		"a wait without end":          `{"wait_ms":5}`,
		"two questions":               `{"user":{"account":"a","user":"u"},"check":[{"account":"a","user":"u"}]}`,
		"three questions":             `{"user":{"account":"a","user":"u"},"outcome":{"account":"a","id":"1-1-1"},"dead_letters":{"account":"a","limit":1}}`,
		"check of nobody":             `{"check":[]}`,
		"too many checks":             `{"check":[` + strings.Repeat(`{"account":"a","user":"u"},`, MaxChecks) + `{"account":"a","user":"u"}]}`,
		"no account":                  `{"user":{"user":"u"}}`,
		"no user":                     `{"check":[{"account":"a","user":"u"},{"account":"a"}]}`,
		"account too long":            `{"user":{"account":"` + long + `","user":"u"}}`,
		"user too long":               `{"check":[{"account":"a","user":"` + long + `"}]}`,
		"key of a space":              `{"check":[{"account":"a","user":"u","key":"a b"}]}`,
		"key too long":                `{"check":[{"account":"a","user":"u","key":"` + long + `"}]}`,
		"key of a user asked for":     `{"user":{"account":"a","user":"u","key":"k"}}`,
		"control character":           `{"user":{"account":"a","user":"u\u0000"}}`,
		"delete character":            `{"user":{"account":"a\u007f","user":"u"}}`,
		"not UTF-8":                   "{\"user\":{\"account\":\"a\",\"user\":\"\xff\"}}",
		"no id":                       `{"outcome":{"account":"a"}}`,
		"id too long":                 `{"outcome":{"account":"a","id":"` + long + `"}}`,
		"outcome of nobody":           `{"outcome":{"id":"1-1-1"}}`,
		"status of a kind of its own": `{"status":{"since":1}}`,
		"status and more":             `{"status":{},"user":{"account":"a","user":"u"}}`,
		"a question of a later build": `{"history":{"user":"u"}}`,
		"limit of nothing":            `{"dead_letters":{"account":"a","limit":0}}`,
		"limit too high":              `{"dead_letters":{"account":"a","limit":1001}}`,
		"letters of nobody":           `{"dead_letters":{"limit":1}}`,
		"negative wait":               `{"wait_seq":1,"wait_ms":-1}`,
		"wait too long":               `{"wait_seq":1,"wait_ms":30001}`,
		"unknown member":              `{"wait_seq":1,"only_if":"x"}`,
		"wrong type":                  `{"wait_seq":"1"}`,
		"trailing data":               `{"wait_seq":1}{}`,
		"trailing letter":             `{"wait_seq":1}x`,
		"too large":                   `{"wait_seq":1` + strings.Repeat(" ", MaxRequestBytes) + `}`,
	} {
		if req, err := DecodeRequest([]byte(data)); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: DecodeRequest = %+v, %v", name, req, err)
		}
	}
}

// The longest names, each character doubled by an escape, still make a request that travels if the caller heeds MaxRequestBytes.
func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	many := make([]Check, MaxChecks)
	for i := range many {
		many[i] = Check{Account: strings.Repeat(`"`, MaxAccountBytes), User: strings.Repeat(`\`, MaxUserBytes)}
	}
	for name, req := range map[string]Request{
		"nothing":   {},
		"too large": {Check: many},
		"not UTF-8": {User: &User{"a", "\xff"}},
	} {
		if _, err := EncodeRequest(req); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := EncodeReply(Reply{User: &UserState{Vars: map[string]json.RawMessage{"a": json.RawMessage("{")}}}); err == nil {
		t.Error("EncodeReply took a value that is not JSON")
	}
}

func TestFinalStatuses(t *testing.T) {
	for status, final := range map[string]bool{
		StatusAccepted: false, StatusScheduled: false,
		StatusApplied: true, StatusRedirected: true, StatusRejected: true, StatusDuplicate: true,
	} {
		if (&Outcome{Status: status}).Final() != final {
			t.Errorf("%s: final is not %v", status, final)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for data := range goldenRequests {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := DecodeRequest(data)
		if err != nil {
			return
		}
		again, err := EncodeRequest(req)
		if err != nil {
			t.Fatalf("accepted, but cannot be sent: %v", err)
		}
		back, err := DecodeRequest(again)
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		if diff := cmp.Diff(req, back); diff != "" {
			t.Fatal(diff)
		}
	})
}
