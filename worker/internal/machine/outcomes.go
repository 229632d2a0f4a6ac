package machine

// outcomes collects those of one message. Accounts and users become one string a message rather than two a
// record; each outcome holds a part of it.
type outcomes struct {
	list  []Outcome
	ends  []idEnds
	bytes []byte
}

// idEnds says where the account and the user of an outcome end in outcomes.bytes.
type idEnds struct{ account, user int }

func (o *outcomes) add(account, user []byte, out Outcome) {
	o.bytes = append(o.bytes, account...)
	end := len(o.bytes)
	o.bytes = append(o.bytes, user...)
	o.list = append(o.list, out)
	o.ends = append(o.ends, idEnds{end, len(o.bytes)})
}

// replace puts out in the place of the outcome of the same record and says whether there is one.
func (o *outcomes) replace(out Outcome) bool {
	for i := range o.list {
		if o.list[i].Position == out.Position {
			o.list[i] = out
			return true
		}
	}
	return false
}

// take is what was collected, valid until the next add, which begins anew.
func (o *outcomes) take() []Outcome {
	ids, start := string(o.bytes), 0
	for i, end := range o.ends {
		o.list[i].Account, o.list[i].User = ids[start:end.account], ids[end.account:end.user]
		start = end.user
	}
	list := o.list
	o.list, o.ends, o.bytes = list[:0], o.ends[:0], o.bytes[:0]
	return list
}
