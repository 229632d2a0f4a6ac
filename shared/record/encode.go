package record

import (
	"strconv"

	"github.com/triggerd/triggerd/shared/strictjson"
)

// AppendTo appends r as one compact JSON line, without the line feed. Members stand in a fixed order;
// those that do not belong to r's kind, are empty, false or zero and not mandatory are left out, so equal records
// are equal bytes. It judges nothing: what Decode would refuse in r, it refuses in the line too.
// Values of variables must be compact JSON (see strictjson.AppendCompact) and are copied as they
// are. It allocates only to grow dst.
func (r *Record) AppendTo(dst []byte) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, r.Kind.String()...)
	dst = append(dst, '"')
	if r.keyed() {
		dst = appendText(appendText(dst, `,"key":`, r.Key), `,"print":`, r.Print)
	}
	switch r.Kind {
	case Trigger:
		dst = r.appendTrigger(dst)
	case Register:
		dst = r.appendVars(r.appendTarget(r.appendWhose(dst)))
		dst = appendText(dst, `,"trace":`, r.Trace)
	case Delete:
		dst = appendText(r.appendWhose(dst), `,"trace":`, r.Trace)
	case Configure:
		dst = r.Limits.appendTo(dst)
	}
	return append(dst, '}')
}

func (r *Record) appendTrigger(dst []byte) []byte {
	dst = r.appendTarget(r.appendWhose(dst))
	if r.Redirect {
		dst = append(dst, `,"redirect":true`...)
	}
	if r.Wait != 0 {
		dst = appendInt(dst, `,"wait_ms":`, r.Wait)
	}
	return appendText(r.appendVars(dst), `,"trace":`, r.Trace)
}

func (r *Record) appendWhose(dst []byte) []byte {
	dst = strictjson.AppendString(append(dst, `,"account":`...), r.Account)
	return strictjson.AppendString(append(dst, `,"user":`...), r.User)
}

func (r *Record) appendTarget(dst []byte) []byte {
	if r.HasModule {
		dst = appendInt(dst, `,"module":`, r.Module)
	}
	return appendText(dst, `,"bot":`, r.Bot)
}

func (r *Record) appendVars(dst []byte) []byte {
	if len(r.Vars) == 0 {
		return dst
	}
	dst = append(dst, `,"vars":`...)
	separator := byte('{')
	for _, v := range r.Vars {
		dst = strictjson.AppendString(append(dst, separator), v.Name)
		dst = append(append(dst, ':'), v.Value...)
		separator = ','
	}
	return append(dst, '}')
}

func (l *Limits) appendTo(dst []byte) []byte {
	dst = appendInt(dst, `,"machine":`, int64(l.Machine))
	dst = appendInt(dst, `,"max_user_bytes":`, l.MaxUserBytes)
	dst = appendInt(dst, `,"max_pending":`, int64(l.MaxPending))
	dst = appendInt(dst, `,"outcomes_keep_ms":`, l.OutcomesKeep)
	if l.MaxKeys == 0 {
		return dst
	}
	dst = appendInt(dst, `,"max_keys":`, l.MaxKeys)
	return appendInt(dst, `,"keys_keep_ms":`, l.KeysKeep)
}

// Version is the lowest format that can say what r says.
func (r *Record) Version() int {
	if r.keyed() || r.Kind == Configure && r.Limits.MaxKeys != 0 {
		return 2
	}
	return 1
}

func (r *Record) keyed() bool { return r.Kind == Trigger && len(r.Key) > 0 }

// keyedLine is how a trigger with a key begins.
const keyedLine = `{"type":"trigger","key":`

// TriggerVersion is Version of a line that AppendTo wrote, of any kind but Configure. It looks at its first bytes only.
func TriggerVersion(line []byte) int {
	if len(line) >= len(keyedLine) && string(line[:len(keyedLine)]) == keyedLine {
		return 2
	}
	return 1
}

// appendText appends a member that is left out when empty.
func appendText(dst []byte, label string, text []byte) []byte {
	if len(text) == 0 {
		return dst
	}
	return strictjson.AppendString(append(dst, label...), text)
}

func appendInt(dst []byte, label string, n int64) []byte {
	return strconv.AppendInt(append(dst, label...), n, 10)
}
