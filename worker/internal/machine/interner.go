package machine

// Bounds of an interner: texts, and bytes of each. A deployment has some hundred names of variables and
// bots; whoever sends others all the time only loses the saving.
const (
	maxInterned      = 4096
	maxInternedBytes = 64
)

// interner keeps one copy of each of the few texts that all users share. It changes nothing but memory.
type interner struct{ known map[string]string }

func (in *interner) text(b []byte) string {
	if s, ok := in.known[string(b)]; ok {
		return s
	}
	if len(b) > maxInternedBytes {
		return string(b)
	}
	if in.known == nil || len(in.known) >= maxInterned {
		in.known = make(map[string]string)
	}
	s := string(b)
	in.known[s] = s
	return s
}
