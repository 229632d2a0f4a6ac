package ratelimit

// Class says what limits an account. Accounts are without number and become no label of a metric; these do.
type Class uint8

const (
	Unlimited Class = iota // nothing: there is no usual limit, or this account was freed from it
	Usual                  // Config.Default
	Own                    // a limit of its own
	Classes                // how many there are
)

// String is the class as metrics show it: dashboards and alerts are written against these words.
func (c Class) String() string { return [Classes]string{"unlimited", "usual", "own"}[c] }
