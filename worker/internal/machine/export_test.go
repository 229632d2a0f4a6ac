package machine

import "github.com/triggerd/triggerd/shared/record"

// PanicFor makes the judgement of that user's records panic, after it has done everything it does.
// It holds until the next configure record.
func (m *Machine) PanicFor(user string) {
	judge := m.judge
	m.judge = func(in *input, fx *effects) {
		judge(in, fx)
		if in.rec.Kind != record.Tick && string(in.rec.User) == user {
			panic("boom")
		}
	}
}
