package machine

import (
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
)

// salvage reads what can be read of a line that is no record, into r and nothing else: kind, account and user. It
// says whether that suffices to reject the record in public. A line that isn't even JSON gives nothing.
func salvage(line []byte, r *record.Record) (ok bool) {
	*r = record.Record{Vars: r.Vars[:0]}
	defer func() { // what made the decoder panic may do it here, too
		if recover() != nil {
			*r, ok = record.Record{}, false
		}
	}()
	err := strictjson.Object(line, record.MaxDepth, func(name, value []byte) error {
		switch string(name) {
		case "type":
			r.Kind = salvageKind(value)
		case "account":
			r.Account = salvageText(value)
		case "user":
			r.User = salvageText(value)
		}
		return nil
	})
	if err != nil {
		*r = record.Record{Vars: r.Vars[:0]}
	}
	return r.Kind != 0 && len(r.Account) > 0 && len(r.User) > 0
}

// salvageKind knows the kinds that are about a user.
func salvageKind(value []byte) record.Kind {
	for _, k := range []record.Kind{record.Trigger, record.Register, record.Delete} {
		if text, ok := strictjson.String(value); ok && string(text) == k.String() {
			return k
		}
	}
	return 0
}

// salvageText keeps to the bounds that the record format has for parts of keys.
func salvageText(value []byte) []byte {
	text, ok := strictjson.String(value)
	if !ok || len(text) > record.MaxTextBytes {
		return nil
	}
	for _, c := range text {
		if c < ' ' {
			return nil
		}
	}
	return text
}
