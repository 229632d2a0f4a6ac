package httpapi

import "net/http"

// traceparent is the header of that name (W3C Trace Context) if it is well-formed, otherwise "": a caller's
// broken tracing is no reason to refuse what they ask for.
func traceparent(r *http.Request) string {
	values := r.Header["Traceparent"]
	if len(values) != 1 || !validTrace(values[0]) {
		return ""
	}
	return values[0]
}

const (
	traceLen   = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	zeroTrace  = "00000000000000000000000000000000"
	zeroParent = "0000000000000000"
)

// validTrace knows version 00. What later ones look like is theirs to say, so they are not carried on.
func validTrace(s string) bool {
	if len(s) != traceLen || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	trace, parent, flags := s[3:35], s[36:52], s[53:]
	return isHex(trace) && isHex(parent) && isHex(flags) && trace != zeroTrace && parent != zeroParent
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
