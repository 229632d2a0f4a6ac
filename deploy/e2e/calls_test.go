package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
)

const (
	jsonMedia  = "application/json"
	linesMedia = "application/x-ndjson"
	triggers   = "/actionsvc/trigger-response/"
	waiting    = "?wait=20s"

	// What setUp declares: bot "bot" has the first two, bot "other" the third.
	seven, eight, far = 7, 8, 1000
)

// answer is what a request came to.
type answer struct {
	t      *testing.T
	code   int
	header http.Header
	body   string
}

// into decodes the body.
func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Errorf("answer is %d %s: %v", a.code, a.body, err)
	}
}

// must fails the test unless the status is as wanted.
func (a answer) must(code int) answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("answer is %d %s, want %d", a.code, a.body, code)
	}
	return a
}

// call makes a request of one ingress. No answer within natstest.Patience is an error of the test.
func (f *fleet) call(to *member, method, path, media, body string) answer {
	f.t.Helper()
	return f.callAs(f.token, to, method, path, media, body)
}

func (f *fleet) callAs(token string, to *member, method, path, media, body string) answer {
	f.t.Helper()
	ctx, cancel := f.patient()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+to.addr+path, strings.NewReader(body))
	if err != nil {
		f.t.Error(err)
		return answer{t: f.t}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	return f.do(req)
}

// do sends a request, with the fleet's own token if it has none.
func (f *fleet) do(req *http.Request) answer {
	f.t.Helper()
	if req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+f.token)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Error(err)
		return answer{t: f.t}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Error(err)
	}
	return answer{f.t, resp.StatusCode, resp.Header, string(data)}
}

// reply is the answer to a trigger.
type reply struct {
	answer
	ID       string `json:"trigger_id"`
	Redirect bool   `json:"redirect"`
	Code     string `json:"code"`
	Receipt  string `json:"receipt"`
}

// trigger sends one; rest is what follows user_id in the body.
func (f *fleet) trigger(to *member, user, rest string) reply {
	f.t.Helper()
	r := reply{answer: f.call(to, http.MethodPost, triggers, jsonMedia, `{"user_id":`+strconv.Quote(user)+`,`+rest+`}`)}
	r.into(&r)
	return r
}

// patiently repeats a call while it is answered with unavailable: a machine that is busy with other tests may take longer to sync a batch than an
// ingress allows before it refuses new ones.
func (f *fleet) patiently(call func() answer) (a answer) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		a = call()
		return !strings.Contains(a.body, `"code":"unavailable"`) // an import says so in a 200
	}, "the broker to be quick enough")
	return a
}

// accepted is the id of a trigger that must be accepted.
func (f *fleet) accepted(to *member, user, rest string) string {
	f.t.Helper()
	var r reply
	f.patiently(func() answer {
		r = f.trigger(to, user, rest)
		return r.answer
	})
	if r.code != http.StatusOK || r.ID == "" {
		f.t.Fatalf("trigger for %s: %d %s", user, r.code, r.body)
	}
	return r.ID
}

// refused says whether r is the refusal that a trigger gets while the broker does not take it, and complains if it is anything else.
func (r reply) refused() bool {
	r.t.Helper()
	if r.code == http.StatusOK {
		return false
	}
	if seconds, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || seconds < 1 {
		r.t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
	}
	known := r.Code == "unavailable" && r.Receipt == "" || r.Code == "unknown_outcome" && r.Receipt != ""
	if r.code != http.StatusServiceUnavailable || !known {
		r.t.Errorf("refusal is %d %s", r.code, r.body)
	}
	return true
}

// outcome is what became of a trigger.
type outcome struct {
	TriggerID   string  `json:"trigger_id"`
	UserID      string  `json:"user_id"`
	Status      string  `json:"status"`
	Reason      string  `json:"reason"`
	DuplicateOf string  `json:"duplicate_of"`
	UserVersion *uint64 `json:"user_version"`
}

// fate waits until it is final what became of a trigger, named by id or receipt.
func (f *fleet) fate(to *member, name string) (o outcome) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		a := f.call(to, http.MethodGet, "/v1/triggers/"+name+waiting, "", "")
		if a.code == http.StatusServiceUnavailable {
			return false
		}
		o = outcome{}
		a.must(http.StatusOK).into(&o)
		return o.Status != "accepted" && o.Status != "scheduled"
	}, "the outcome of %s", name)
	return o
}

// want fails the test unless a trigger came to status.
func (f *fleet) want(to *member, name, status string) outcome {
	f.t.Helper()
	o := f.fate(to, name)
	if o.Status != status {
		f.t.Errorf("%s came to %+v, want %s", name, o, status)
	}
	return o
}

// state is a user as the API shows it.
type state struct {
	BotID   string                     `json:"bot_id"`
	Module  int64                      `json:"module_id"`
	Vars    map[string]json.RawMessage `json:"custom_vars"`
	Version uint64                     `json:"version"`
	Pending []struct {
		TriggerID string    `json:"trigger_id"`
		ModuleID  int64     `json:"module_id"`
		DueAt     time.Time `json:"due_at"`
	} `json:"pending_redirects"`
	Changes []struct {
		TriggerID string `json:"trigger_id"`
	} `json:"changes"`
}

// user reads a user who must be there.
func (f *fleet) user(to *member, id string) (s state) {
	f.t.Helper()
	f.call(to, http.MethodGet, "/v1/users/"+id, "", "").must(http.StatusOK).into(&s)
	return s
}

func (f *fleet) put(to *member, user, body string) answer {
	f.t.Helper()
	return f.call(to, http.MethodPut, "/v1/users/"+user, jsonMedia, body)
}

// register opens a conversation of bot "bot" at module seven.
func (f *fleet) register(to *member, users ...string) {
	f.t.Helper()
	for _, u := range users {
		if a := f.patiently(func() answer { return f.put(to, u, `{"bot_id":"bot","module_id":7}`) }); a.code != http.StatusOK && a.code != http.StatusAccepted {
			f.t.Fatalf("register %s: %d %s", u, a.code, a.body)
		}
	}
}

// setUp declares the bots' modules.
func (f *fleet) setUp(to *member) {
	f.t.Helper()
	for bot, modules := range map[string]string{"bot": `{"id":7,"name":"Seven"},{"id":8,"name":"Eight"}`, "other": `{"id":1000,"name":"Far"}`} {
		f.patiently(func() answer {
			return f.call(to, http.MethodPut, "/v1/bots/"+bot+"/modules", jsonMedia, `{"modules":[`+modules+`]}`)
		}).must(http.StatusOK)
	}
}

// metric is the sum of a member's series of that name that have the label value; an empty one fits all.
func (f *fleet) metric(of *member, name, label string) (sum float64) {
	f.t.Helper()
	text := f.call(&member{addr: of.admin}, http.MethodGet, "/metrics", "", "").must(http.StatusOK).body
	found := false
	for line := range strings.Lines(text) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, labels, _ := strings.Cut(series, "{")
		if id != name || label != "" && !strings.Contains(labels, strconv.Quote(label)) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			f.t.Errorf("metric %s: %v", line, err)
		}
		sum, found = sum+n, true
	}
	if !found {
		f.t.Fatalf("there is no metric %s with a label %q", name, label)
	}
	return sum
}

// partitionPage is a partition on the worker's admin page.
type partitionPage struct {
	Partition     int
	State         string
	Cause         string
	Applied       uint64
	Last          uint64
	CheckpointSeq uint64 `json:"checkpoint_seq"`
	Digest        string
	DigestSeq     uint64 `json:"digest_seq"`
}

// partitions reads the admin page of a worker.
func (f *fleet) partitions(admin, query string) []partitionPage {
	f.t.Helper()
	var page struct{ Partitions []partitionPage }
	f.call(&member{addr: admin}, http.MethodGet, "/partitions"+query, "", "").must(http.StatusOK).into(&page)
	return page.Partitions
}
