package machinetest

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// generator draws a log message by message. Everything that can go wrong in a real log is in it, far more
// often than there, and with limits so small that they are reached.
type generator struct {
	t       *rapid.T
	log     []machine.Message
	clock   machine.Millis // the server's
	writers []*writer
	traced  int // triggers so far
}

// writer is an appender with a clock of its own.
type writer struct {
	name    string
	skew    machine.Millis
	number  uint64
	batches []record.Batch // those appended
}

const (
	second machine.Millis = 1000
	hour                  = 3600 * second
	day                   = 24 * hour
)

// start is a moment shortly before a full hour, so that short logs see one change.
const start = 1_767_225_600*second - 10*second

// MaxLog is the highest number of messages of a drawn log.
const MaxLog = 60

// Log draws the log of one partition: sequences 1, 2, 3 …, the first message configures. It never halts a machine.
func Log(t *rapid.T) []machine.Message {
	g := &generator{t: t, clock: start}
	for _, name := range []string{"ingressA", "ingressB", "ingressC"} {
		g.writers = append(g.writers, &writer{name: name})
	}
	g.add(Configure(g.clock, g.limits()))
	for range rapid.IntRange(1, MaxLog-1).Draw(t, "messages") {
		g.moveClocks()
		g.step()
	}
	return g.log
}

func (g *generator) add(msg machine.Message) { g.log = append(g.log, msg) }

func (g *generator) seq() uint64 { return uint64(len(g.log)) + 1 }

// pick draws an index with the given weights; the first choice is what shrinking tends to.
func (g *generator) pick(label string, weights ...int) int {
	total := 0
	for _, w := range weights {
		total += w
	}
	n := rapid.IntRange(0, total-1).Draw(g.t, label)
	for i, w := range weights {
		if n -= w; n < 0 {
			return i
		}
	}
	return 0
}

// moveClocks lets time pass, mostly a little and forwards.
func (g *generator) moveClocks() {
	jumps := []machine.Millis{0, 1, 700, 2 * second, 30 * second, hour, 25 * hour, -3 * second, -2 * hour}
	g.clock += jumps[g.pick("clock", 4, 4, 8, 8, 4, 2, 1, 2, 1)]
	if w := g.writers[g.pick("skewed", 1, 1, 1)]; g.pick("skews", 9, 1) == 1 {
		w.skew = rapid.SampledFrom([]machine.Millis{0, -second, second, -hour, hour, 40 * day, -40 * day}).Draw(g.t, "skew")
	}
}

func (g *generator) step() {
	switch g.pick("message", 20, 4, 4, 1, 1) {
	case 0:
		g.batch()
	case 1:
		g.ticks()
	case 2:
		g.copyOfBatch()
	case 3:
		g.malformed()
	case 4:
		g.add(Message(g.seq(), g.clock, record.Batch{Writer: "operator", Time: g.clock}, record.Record{Kind: record.Configure, Limits: g.limits()}))
	}
}

// batch is what an appender sends: numbers rise, sometimes with a gap.
func (g *generator) batch() {
	w := g.writers[g.pick("writer", 1, 1, 1)]
	w.number += uint64(1 + g.pick("gap", 9, 1))
	lines := make([][]byte, rapid.IntRange(1, 5).Draw(g.t, "records"))
	for i := range lines {
		lines[i] = g.line()
	}
	msg := Raw(g.seq(), g.clock, record.Batch{Version: g.version(lines), Writer: w.name, Number: w.number, Time: max(0, g.clock+w.skew)}, lines...)
	g.add(msg)
	if batch, err := record.ParseBatch(msg.Header, msg.Payload); err == nil { // a lone empty line is no batch
		w.batches = append(w.batches, batch)
	}
}

// version is that in which an appender would send the lines, or, seldom, an earlier one that does not know all that is in them.
func (g *generator) version(lines [][]byte) int {
	version := 1
	for _, line := range lines {
		version = max(version, record.TriggerVersion(line))
	}
	if g.pick("version", 19, 1) == 1 {
		return 1
	}
	return version
}

// ticks come one or more times, as from two owners at once.
func (g *generator) ticks() {
	for range 1 + g.pick("ticks", 3, 2, 1) {
		g.add(Message(g.seq(), g.clock, record.Batch{Writer: "worker-1", Time: g.clock}, record.Record{Kind: record.Tick}))
	}
}

// copyOfBatch appends a batch again: the last one of its writer, or one from long ago.
func (g *generator) copyOfBatch() {
	w := g.writers[g.pick("copier", 1, 1, 1)]
	if len(w.batches) == 0 {
		return
	}
	b := w.batches[len(w.batches)-1-rapid.IntRange(0, len(w.batches)-1).Draw(g.t, "age")]
	g.add(machine.Message{Seq: g.seq(), Time: g.clock, Header: b.Header(), Payload: b.Payload})
}

// malformed is a message that is no batch: a header is missing or wrong, or a newline inside of a record broke the frame.
func (g *generator) malformed() {
	msg := Message(g.seq(), g.clock, record.Batch{Writer: "ingressA", Number: 1 << 40, Time: g.clock}, g.trigger())
	msg.Header = maps.Clone(msg.Header)
	switch g.pick("malformed", 1, 1, 1, 1) {
	case 0:
		msg.Header = nil
	case 1:
		delete(msg.Header, record.HeaderTime)
	case 2:
		msg.Header[record.HeaderCount] = []string{"2"}
	case 3:
		msg.Payload = nil
	}
	g.add(msg)
}

func (g *generator) limits() record.Limits {
	return record.Limits{
		Machine:      machine.Version,
		MaxUserBytes: int64(rapid.SampledFrom([]int{60, 30, 10_000, 0}).Draw(g.t, "max user bytes")),
		MaxPending:   rapid.SampledFrom([]int{3, 1, 100, 0}).Draw(g.t, "max pending"),
		OutcomesKeep: rapid.SampledFrom([]machine.Millis{hour, 1, 2*hour + 1, 0}).Draw(g.t, "outcomes keep"),
		MaxKeys:      rapid.SampledFrom([]int64{100, 3, 1, 0}).Draw(g.t, "max keys"),
		KeysKeep:     rapid.SampledFrom([]machine.Millis{day, hour, 5 * second}).Draw(g.t, "keys keep"),
	}
}

// line is a record, or what is none.
func (g *generator) line() []byte {
	switch g.pick("line", 16, 5, 2, 1, 1) {
	case 0:
		r := g.trigger()
		return r.AppendTo(nil)
	case 1:
		r := g.register()
		return r.AppendTo(nil)
	case 2:
		r := record.Record{Kind: record.Delete}
		g.whose(&r)
		return r.AppendTo(nil)
	case 3:
		r := record.Record{Kind: record.Tick}
		return r.AppendTo(nil)
	default:
		return []byte(rapid.SampledFrom(poison).Draw(g.t, "poison"))
	}
}

// poison are lines that no appender writes.
var poison = []string{
	``, `{`, `null`, `[]`, `{"type":"tick","type":"tick"}`, `{"type":"poem","account":"acme","user":"ann"}`,
	`{"type":"trigger","account":"acme","user":"ann","vars":{"a":1,"a":2}}`,
	`{"type":"trigger","account":"acme","user":"ann","surprise":true}`,
	`{"type":"register","account":"acme","user":"bob","module":"7"}`,
	`{"type":"delete","account":"acme","user":""}`, "\xff\x00", `{"type":"config","machine":1}`,
}

// Users are those of drawn logs, account and user: few, of which two share a name and two an account.
var Users = [][2]string{{"acme", "ann"}, {"acme", "bob"}, {"zoo", "ann"}, {"zoo", "zoë"}}

// Keys are the idempotency keys of drawn logs.
var Keys = []string{"k1", "k2", "k3"}

func (g *generator) whose(r *record.Record) {
	whose := rapid.SampledFrom(Users).Draw(g.t, "whose")
	r.Account, r.User = []byte(whose[0]), []byte(whose[1])
}

func (g *generator) register() record.Record {
	r := record.Record{Kind: record.Register, Vars: g.vars()}
	g.whose(&r)
	g.where(&r)
	return r
}

func (g *generator) trigger() record.Record {
	r := record.Record{Kind: record.Trigger, Vars: g.vars()}
	g.whose(&r)
	g.where(&r)
	r.Redirect = r.HasModule && g.pick("redirect", 3, 1) == 0
	waits := []machine.Millis{0, 1, 700, 3 * second, 3 * second, hour, 30 * day}
	r.Wait = waits[g.pick("wait", 6, 1, 2, 4, 4, 2, 1)]
	if g.pick("keyed", 1, 1) == 1 {
		r.Key = []byte(rapid.SampledFrom(Keys).Draw(g.t, "key"))
		r.Print = []byte(rapid.SampledFrom([]string{"p", "p", "q"}).Draw(g.t, "print"))
	}
	if g.pick("traced", 2, 1) == 1 {
		g.traced++
		r.Trace = fmt.Appendf(nil, "00-%032x-%016x-01", g.traced, g.traced)
	}
	return r
}

func (g *generator) where(r *record.Record) {
	if r.HasModule = g.pick("module", 3, 1) == 0; r.HasModule {
		r.Module = rapid.Int64Range(1, 5).Draw(g.t, "module id")
	}
	if g.pick("bot", 1, 1) == 1 {
		r.Bot = []byte(rapid.SampledFrom([]string{"shop", "help"}).Draw(g.t, "bot id"))
	}
}

// vars draws distinct names in any order.
func (g *generator) vars() []record.Var {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "paid", "Zip"}), 0, 3, rapid.ID[string]).Draw(g.t, "names")
	values := []string{`1`, `null`, `"x"`, `1e400`, `{"b":[true]}`, `"a rather long value, to reach limits"`,
		`"` + strings.Repeat("long", 300) + `"`, strconv.Itoa(len(g.log))}
	var vars []record.Var
	for _, name := range names {
		value := rapid.SampledFrom(values).Draw(g.t, "value")
		vars = append(vars, record.Var{Name: []byte(name), Value: []byte(value)})
	}
	return vars
}
