package machine

import (
	"strconv"
	"time"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
)

// EventKind is the CloudEvents type.
type EventKind uint8

const (
	EventRedirected EventKind = iota + 1 // the conversation moved (and, without a wait, its variables changed)
	EventUpdated                         // variables only; also the first half of a delayed trigger
	EventRejected                        // a trigger, or the redirect of a scheduled one, came to nothing
)

// eventTypes are the CloudEvents types. Consumers filter by them: never change one.
var eventTypes = [...]string{
	EventRedirected: "triggerd.conversation.redirected",
	EventUpdated:    "triggerd.conversation.updated",
	EventRejected:   "triggerd.trigger.rejected",
}

// String is the CloudEvents type.
func (k EventKind) String() string { return eventTypes[k] }

// Event is one thing the machine derived. It, and all that it refers to, is valid only during the
// call that it is handed to.
type Event struct {
	Number                    uint64 // 1, 2, 3 … in the partition, without gaps
	Kind                      EventKind
	Partition                 int
	Position                  record.Position // of the trigger
	Second                    bool            // the delayed half of a trigger: the id gets the suffix "-r"
	Time                      Millis          // stream time
	Account                   []byte
	User                      []byte
	Bot                       string       // after the change; empty = none
	ModuleBefore, ModuleAfter int64        // 0 = none
	Vars                      []record.Var // what was set, in the order of the record
	Version                   uint64       // of the user, after the change; 0 = unknown user
	Reason                    string       // EventRejected
	Trace                     []byte       // W3C traceparent of the trigger, empty = none
}

// AppendJSON appends the event as a CloudEvents 1.0 JSON object, in one line. The bytes are a
// function of the event alone: a replay emits the same ones.
func (e *Event) AppendJSON(dst []byte) []byte {
	id := record.ID{Partition: e.Partition, Position: e.Position}
	dst = append(dst, `{"specversion":"1.0","id":"`...)
	dst = id.AppendTo(dst)
	if e.Second {
		dst = append(dst, "-r"...)
	}
	dst = append(dst, `","source":"triggerd/partition/`...)
	dst = appendInt(dst, int64(e.Partition))
	dst = append(dst, `","type":"`...)
	dst = append(dst, e.Kind.String()...)
	dst = append(dst, `","subject":`...)
	dst = strictjson.AppendString(dst, e.User)
	dst = append(dst, `,"time":"`...)
	dst = time.UnixMilli(e.Time).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(dst, `","datacontenttype":"application/json"`...)
	if len(e.Trace) > 0 {
		dst = append(dst, `,"traceparent":`...)
		dst = strictjson.AppendString(dst, e.Trace)
	}
	dst = append(dst, `,"data":`...)
	dst = e.appendData(dst, id)
	return append(dst, '}')
}

// appendData appends the payload of the CloudEvent.
func (e *Event) appendData(dst []byte, id record.ID) []byte {
	dst = append(dst, `{"account":`...)
	dst = strictjson.AppendString(dst, e.Account)
	dst = append(dst, `,"user_id":`...)
	dst = strictjson.AppendString(dst, e.User)
	dst = append(dst, `,"bot_id":`...)
	dst = strictjson.AppendString(dst, e.Bot)
	dst = append(dst, `,"module_before":`...)
	dst = appendModule(dst, e.ModuleBefore)
	dst = append(dst, `,"module_after":`...)
	dst = appendModule(dst, e.ModuleAfter)
	dst = append(dst, `,"variables":{`...)
	for i, v := range e.Vars {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strictjson.AppendString(dst, v.Name)
		dst = append(dst, ':')
		dst = append(dst, v.Value...)
	}
	dst = append(dst, `},"version":`...)
	dst = strconv.AppendUint(dst, e.Version, 10)
	if e.Reason != "" {
		dst = append(dst, `,"reason":`...)
		dst = strictjson.AppendString(dst, e.Reason)
	}
	dst = append(dst, `,"trigger_id":"`...)
	dst = id.AppendTo(dst)
	return append(dst, `"}`...)
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// appendModule appends a module, or null for none.
func appendModule(dst []byte, module int64) []byte {
	if module == 0 {
		return append(dst, "null"...)
	}
	return appendInt(dst, module)
}
