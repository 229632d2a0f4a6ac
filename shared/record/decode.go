package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/triggerd/triggerd/shared/strictjson"
)

// Decode parses one line of a batch of the given version into r, reusing r's slices. Errors mean a dead letter; they name
// members and variables but never quote a value, and r is then of no use until the next Decode. It
// allocates nothing for the lines that AppendTo writes, unless a name or an id holds an escape or
// a record has more than 32 variables.
func (r *Record) Decode(line []byte, version int) error {
	*r = Record{Vars: r.Vars[:0]}
	in := strictjson.NewReader(line, MaxDepth)
	seen, err := r.decodeMembers(&in)
	if err == nil {
		err = in.End()
	}
	if err == nil && !in.Compact() {
		err = errors.New("white space between tokens")
	}
	if err == nil {
		err = r.judge(seen, version)
	}
	if err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	return nil
}

func (r *Record) decodeMembers(in *strictjson.Reader) (seen member, err error) {
	if err := in.Open('{'); err != nil {
		return 0, err
	}
	for {
		name, ok, err := in.Member()
		if err != nil || !ok {
			return seen, err
		}
		m := memberOf(name)
		if m == 0 {
			return 0, errors.New("unknown member")
		}
		if seen&m != 0 {
			return 0, fmt.Errorf("member %v twice", m)
		}
		seen |= m
		if err := r.decodeMember(in, m); err != nil {
			return 0, err
		}
	}
}

func (r *Record) decodeMember(in *strictjson.Reader, m member) error {
	if m == mVars {
		return r.decodeVars(in)
	}
	value, err := in.Value()
	if err != nil {
		return err
	}
	if !r.set(m, value) {
		return fmt.Errorf("member %v has a wrong type or is out of bounds", m)
	}
	return nil
}

// set stores the value of any member but vars. It reports whether the value is what that member holds.
func (r *Record) set(m member, value []byte) bool {
	switch m {
	case mType:
		return setKind(&r.Kind, value)
	case mAccount:
		return setText(&r.Account, value)
	case mUser:
		return setText(&r.User, value)
	case mBot:
		return setText(&r.Bot, value)
	case mTrace:
		return setText(&r.Trace, value)
	case mKey:
		return setVisible(&r.Key, value, MaxKeyBytes)
	case mPrint:
		return setVisible(&r.Print, value, MaxPrint)
	case mModule:
		r.HasModule = true
		return setInt(&r.Module, value, math.MinInt64, math.MaxInt64)
	case mRedirect:
		r.Redirect = string(value) == "true"
		return r.Redirect || string(value) == "false"
	case mWait:
		return setInt(&r.Wait, value, 0, MaxWait)
	default:
		return r.Limits.set(m, value)
	}
}

func (l *Limits) set(m member, value []byte) bool {
	switch m {
	case mMachine:
		return setInt(&l.Machine, value, 1, math.MaxInt32)
	case mMaxUserBytes:
		return setInt(&l.MaxUserBytes, value, 0, math.MaxInt64)
	case mMaxPending:
		return setInt(&l.MaxPending, value, 0, math.MaxInt32)
	case mOutcomesKeep:
		return setInt(&l.OutcomesKeep, value, 0, MaxWait)
	case mMaxKeys:
		return setInt(&l.MaxKeys, value, 1, math.MaxInt32)
	case mKeysKeep:
		return setInt(&l.KeysKeep, value, 1, MaxWait)
	}
	return false
}

// decodeVars reads the variables, each only once.
func (r *Record) decodeVars(in *strictjson.Reader) error {
	if err := in.Open('{'); err != nil {
		return err
	}
	for {
		name, ok, err := in.Member()
		if err != nil {
			return err
		}
		if !ok {
			return r.refuseDoubles()
		}
		value, err := in.Value()
		if err != nil {
			return err
		}
		r.Vars = append(r.Vars, Var{Name: name, Value: value})
	}
}

// refuseDoubles refuses variables of one name. Few are compared with each other; many are sorted, in
// a copy, because comparing would take a time that grows with the square of their number.
func (r *Record) refuseDoubles() error {
	const few = 32
	if len(r.Vars) > few {
		sorted := slices.Clone(r.Vars)
		slices.SortFunc(sorted, func(a, b Var) int { return bytes.Compare(a.Name, b.Name) })
		for i := 1; i < len(sorted); i++ {
			if bytes.Equal(sorted[i-1].Name, sorted[i].Name) {
				return errDouble(sorted[i].Name)
			}
		}
		return nil
	}
	for i := range r.Vars {
		for j := range i {
			if bytes.Equal(r.Vars[i].Name, r.Vars[j].Name) {
				return errDouble(r.Vars[i].Name)
			}
		}
	}
	return nil
}

func errDouble(name []byte) error {
	return fmt.Errorf("variable %.64q twice", name)
}

// judge checks what only the whole record can tell.
func (r *Record) judge(seen member, version int) error {
	if newer := seen & since2; newer != 0 && version < 2 {
		return fmt.Errorf("%v in version %d", newer, version)
	}
	if seen&mType == 0 {
		return errors.New("member type is missing")
	}
	if missing := mandatory[r.Kind] &^ seen; missing != 0 {
		return fmt.Errorf("%v without %v", r.Kind, missing)
	}
	if excess := seen &^ (mandatory[r.Kind] | optional[r.Kind]); excess != 0 {
		return fmt.Errorf("%v with %v", r.Kind, excess)
	}
	if r.Redirect && !r.HasModule {
		return errors.New("redirect without module")
	}
	if (len(r.Key) == 0) != (len(r.Print) == 0) {
		return errors.New("key without print or print without key")
	}
	if (r.Limits.MaxKeys == 0) != (r.Limits.KeysKeep == 0) {
		return errors.New("max_keys without keys_keep_ms or keys_keep_ms without max_keys")
	}
	return nil
}

func setKind(dst *Kind, value []byte) bool {
	switch string(value) {
	case `"trigger"`:
		*dst = Trigger
	case `"register"`:
		*dst = Register
	case `"delete"`:
		*dst = Delete
	case `"tick"`:
		*dst = Tick
	case `"config"`:
		*dst = Configure
	default:
		return false
	}
	return true
}

// setText takes a string that is neither empty nor long and holds no control character: these
// texts become parts of keys.
func setText(dst *[]byte, value []byte) bool {
	s, ok := strictjson.String(value)
	if !ok || len(s) == 0 || len(s) > MaxTextBytes {
		return false
	}
	for _, c := range s {
		if c < ' ' {
			return false
		}
	}
	*dst = s
	return true
}

// setVisible takes a text of visible ASCII characters.
func setVisible(dst *[]byte, value []byte, most int) bool {
	return setText(dst, value) && len(*dst) <= most && Visible(*dst)
}

// Visible reports whether s holds visible ASCII characters alone, as an idempotency key must.
func Visible[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// setInt takes a number without fraction and exponent.
func setInt[T int | int64](dst *T, value []byte, low, high int64) bool {
	n, err := strconv.ParseInt(string(value), 10, 64)
	*dst = T(n)
	return err == nil && low <= n && n <= high
}
