package record

// member is a set of the members of a line.
type member uint32

const (
	mType member = 1 << iota
	mAccount
	mUser
	mModule
	mBot
	mRedirect
	mWait
	mVars
	mTrace
	mMachine
	mMaxUserBytes
	mMaxPending
	mOutcomesKeep
	mKey
	mPrint
	mMaxKeys
	mKeysKeep
)

// memberNames are the names of the members.
var memberNames = [...]string{
	"type", "account", "user", "module", "bot", "redirect", "wait_ms", "vars", "trace",
	"machine", "max_user_bytes", "max_pending", "outcomes_keep_ms",
	"key", "print", "max_keys", "keys_keep_ms",
}

const (
	whose  = mAccount | mUser
	limits = mMachine | mMaxUserBytes | mMaxPending | mOutcomesKeep

	since2 = mKey | mPrint | mMaxKeys | mKeysKeep // members that version 1 does not have
)

// mandatory and allowed are the members of each kind; allowed are those besides the mandatory ones.
var (
	mandatory = [...]member{
		Trigger: mType | whose, Register: mType | whose, Delete: mType | whose,
		Tick: mType, Configure: mType | limits,
	}
	optional = [...]member{
		Trigger:  mModule | mBot | mRedirect | mWait | mVars | mTrace | mKey | mPrint,
		Register: mModule | mBot | mVars | mTrace,
		Delete:   mTrace,
		Tick:     0, Configure: mMaxKeys | mKeysKeep,
	}
)

// memberOf is the member of that name, 0 if there is none.
func memberOf(name []byte) member {
	switch string(name) {
	case "type":
		return mType
	case "account":
		return mAccount
	case "user":
		return mUser
	case "module":
		return mModule
	case "bot":
		return mBot
	case "redirect":
		return mRedirect
	case "wait_ms":
		return mWait
	case "vars":
		return mVars
	case "trace":
		return mTrace
	case "machine":
		return mMachine
	case "max_user_bytes":
		return mMaxUserBytes
	case "max_pending":
		return mMaxPending
	case "outcomes_keep_ms":
		return mOutcomesKeep
	case "key":
		return mKey
	case "print":
		return mPrint
	case "max_keys":
		return mMaxKeys
	case "keys_keep_ms":
		return mKeysKeep
	}
	return 0
}

// String names the members of the set, for errors.
func (m member) String() string {
	text := ""
	for i, name := range memberNames {
		if m&(1<<i) == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += name
	}
	return text
}
