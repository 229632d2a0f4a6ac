package httpapi

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
)

func TestModuleIDs(t *testing.T) {
	for value, want := range map[string]int64{
		`0`: 0, `-0`: 0, `7`: 7, `-7`: -7, `7.0`: 7, `7e0`: 7, `70e-1`: 7, `0.7e1`: 7, `0.0000000000000000000007e22`: 7,
		`9223372036854775807`: 9223372036854775807, `-9223372036854775808`: -9223372036854775808,
		`922337203685477580.7e1`: 9223372036854775807,
		`"7"`:                    7, `"-7"`: -7, `"007"`: 7, `"\u0037"`: 7, `"9223372036854775807"`: 9223372036854775807, `0e999999999999`: 0,
	} {
		if got, ok := moduleID([]byte(value)); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", value, got, ok, want)
		}
	}
	for _, value := range []string{
		`7.5`, `1e-1`, `9223372036854775808`, `-9223372036854775809`, `1e400`, `18446744073709551616`, `99999999999999999999`,
		`0.00000000000000000000000000001`, `7.00000000000000000000000000001`, `""`, `"+7"`, `" 7"`, `"7 "`, `"7.0"`, `"1e3"`, `"0x7"`, `"1_000"`,
		`"9223372036854775808"`, `"seven"`, `true`, `[7]`, `{}`, `-9223372036854775808.5`, `1e99999999999999999999`,
	} {
		if got, ok := moduleID([]byte(value)); ok {
			t.Errorf("%s: taken as %d", value, got)
		}
	}
}

func TestWaitTimes(t *testing.T) {
	for value, want := range map[string]int64{
		`0`: 0, `-0`: 0, `-0.0e5`: 0, `3`: 3000, `0.003`: 3, `0.0031`: 4, `1e-400`: 1, `0.001`: 1, `2592000`: 2592000000, `2.592e6`: 2592000000,
		`2591999.9999`: 2592000000, `1.0005`: 1001, `0.1`: 100, `0.29`: 290, `4.35`: 4350, `1e0`: 1000, `0.` + strings.Repeat("0", 1000) + `1e1001`: 1000,
	} {
		r := request{}
		if fault := r.setWait([]byte(value)); fault != nil || r.wait != want {
			t.Errorf("%.40s: %d, %v, want %d", value, r.wait, fault, want)
		}
	}
	for _, value := range []string{
		`-1`, `-0.0001`, `2592000.0001`, `2592001`, `1e400`, `1e99999999999999999999`, `"3"`, `null`, `true`, `[]`, `{}`,
	} {
		r := request{}
		if fault := r.setWait([]byte(value)); fault == nil {
			t.Errorf("%s: taken as %d ms", value, r.wait)
		}
	}
}

// TestNumbersAreExact compares with rational arithmetic.
func TestNumbersAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%s is no number to math/big", text)
		}
		checkInteger(t, text, exact)
		checkMillis(t, text, exact)
	})
}

func checkInteger(t *rapid.T, text string, exact *big.Rat) {
	got, ok := moduleID([]byte(text))
	if want := exact.IsInt() && exact.Num().IsInt64(); ok != want || ok && got != exact.Num().Int64() {
		t.Errorf("integer %s: %d, %v, want %v", text, got, ok, want)
	}
}

func checkMillis(t *rapid.T, text string, exact *big.Rat) {
	d := parseDecimal([]byte(text))
	got, ok := d.millis(maxWait)
	ms := new(big.Rat).Mul(exact, big.NewRat(1000, 1))
	up := new(big.Int).Add(ms.Num(), new(big.Int).Sub(ms.Denom(), big.NewInt(1)))
	up.Div(up, ms.Denom())
	want := exact.Sign() >= 0 && up.Cmp(big.NewInt(maxWait)) <= 0
	if ok != want || ok && got != up.Int64() {
		t.Errorf("seconds %s: %d ms, %v, want %v, %v", text, got, ok, up, want)
	}
}

func TestVarNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"a": true, "Z": true, "a1": true, "a_b-c": true, strings.Repeat("a", 64): true,
		"": false, "1": false, "_a": false, "-a": false, "a b": false, "a.b": false, "é": false, "aé": false, "a\x00": false, "[": false, "a`": false,
		strings.Repeat("a", 65): false,
	} {
		if validVarName([]byte(name)) != valid {
			t.Errorf("%q: want %v", name, valid)
		}
	}
}

// TestDepth shows that values reach the log down to the last level that is allowed, and that one more is refused.
func TestDepth(t *testing.T) {
	d := decoder{maxVars: 256}
	body := func(levels int) []byte { // the request is the first, custom_vars the second
		return []byte(`{"user_id":"a","module_id":null,"custom_vars":{"a":` + strings.Repeat("[", levels-2) + strings.Repeat("]", levels-2) + `}}`)
	}
	if req, err := d.trigger(body(32), true); err != nil || len(req.vars) != 1 || len(req.vars[0].Value) != 60 {
		t.Errorf("32 levels: %+v, %v", req, err)
	}
	if _, err := d.trigger(body(33), true); err == nil {
		t.Error("33 levels: taken")
	}
}

// TestManyVariables shows the bound: 256 pass, one more does not, however often one name is repeated.
func TestManyVariables(t *testing.T) {
	d := decoder{maxVars: 256}
	if req, err := d.trigger([]byte(`{"user_id":"a","module_id":null,"custom_vars":{`+manyVars(256)+`}}`), true); err != nil || len(req.vars) != 256 {
		t.Errorf("256: %v", err)
	}
	same := strings.TrimSuffix(strings.Repeat(`"a":1,`, 257), ",")
	if _, err := d.trigger([]byte(`{"user_id":"a","module_id":null,"custom_vars":{`+same+`}}`), true); err == nil {
		t.Error("257 of one name: accepted")
	}
}

// TestDecoderForgets shows that nothing of a request is left in the next one of the same decoder.
func TestDecoderForgets(t *testing.T) {
	d := decoder{maxVars: 256}
	if _, err := d.trigger([]byte(`{"user_id":"alice","module_id":7,"is_async":true,"wait_time":3,"custom_vars":{"a":[ 1 ],"b":2}}`), true); err != nil {
		t.Fatal(err)
	}
	req, err := d.trigger([]byte(`{"user_id":"bob","module_id":null}`), true)
	if err != nil || string(req.user) != "bob" || req.hasModule || req.async || req.wait != 0 || len(req.vars) != 0 || req.seen != fUser|fModule {
		t.Errorf("%+v, %v", req, err)
	}
	if _, err := d.trigger([]byte(`{"user_id":7,"module_id":null}`), true); err == nil {
		t.Error("bad user: accepted")
	}
	if _, err := d.trigger([]byte(`{"user_id":"bob","module_id":null}`), true); err != nil {
		t.Errorf("after a bad one: %v", err)
	}
}

// FuzzDecode shows of every body: it is refused with a word of the contract, or it becomes a line that the log takes and that
// says the same.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		goodTrigger,
		`{"user_id":"alice","module_id":"1068935","is_async":true,"wait_time":0.0001,"custom_vars":{"a":1e400,"b":{"c":[ 1, null ]}}}`,
		`{"user_id":"\ud83d\ude00","module_id":null,"custom_vars":{"a":1,"a":"\u2028"}}`,
		`{"user_id":"a\u0000","module_id":1e400}`,
		`{"user_id":`, `[]`, ``, `{"user_id":"\ud800"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := decoder{maxVars: 256}
		req, err := d.trigger(body, true)
		if err != nil {
			checkRefusal(t, body, err)
			return
		}
		checkRequest(t, req)
		checkLine(t, req)
	})
}

func checkRefusal(t *testing.T, body []byte, err error) {
	var f *failure
	if !errors.As(err, &f) {
		t.Fatalf("%q: no failure: %v", body, err)
	}
	valid := strictjson.Valid(body, maxDepth) == nil
	switch f.code {
	case invalidJSON:
		if valid && !strings.Contains(f.text, "twice") && !strings.Contains(f.text, "want an object") {
			t.Fatalf("%q: %s", body, f.text)
		}
	case missingField, invalidField:
		if !valid {
			t.Fatalf("%q: %s before it is JSON", body, f.text)
		}
	default:
		t.Fatalf("%q: %v", body, f)
	}
}

func checkRequest(t *testing.T, req *request) {
	if !validID(req.user) || req.wait < 0 || req.wait > maxWait || len(req.vars) > 256 {
		t.Fatalf("%+v", req)
	}
	names := map[string]bool{}
	for _, v := range req.vars {
		if !validVarName(v.Name) || names[string(v.Name)] {
			t.Fatalf("variable %q", v.Name)
		}
		names[string(v.Name)] = true
	}
}

func checkLine(t *testing.T, req *request) {
	rec := record.Record{
		Kind: record.Trigger, Account: []byte("demo"), User: req.user, Module: req.module, HasModule: req.hasModule,
		Redirect: req.redirects(), Wait: req.wait, Vars: req.vars,
	}
	line := rec.AppendTo(nil)
	var again record.Record
	if err := again.Decode(line, record.Version); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if string(again.User) != string(req.user) || again.Module != req.module && req.hasModule || len(again.Vars) != len(req.vars) {
		t.Fatalf("%s from %+v", line, req)
	}
	for i, v := range again.Vars {
		if string(v.Value) != string(req.vars[i].Value) {
			t.Fatalf("%s: variable %s was %s", line, v.Name, req.vars[i].Value)
		}
	}
}

const benchBody = `{"user_id":"user-4711","module_id":1068935,"is_async":true,"custom_vars":{"order":"A-1029384756","total":129.9,"items":[{"sku":"x1","n":2},{"sku":"y2","n":1}],"paid":true}}`

func BenchmarkDecode(b *testing.B) {
	d := decoder{maxVars: 256}
	body := []byte(benchBody)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.trigger(body, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeManyVariables(b *testing.B) {
	d := decoder{maxVars: 256}
	body := []byte(`{"user_id":"user-4711","module_id":null,"custom_vars":{` + manyVars(256) + `}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.trigger(body, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecimal(b *testing.B) {
	number := []byte(strconv.Itoa(1068935))
	for b.Loop() {
		d := parseDecimal(number)
		if _, ok := d.integer(); !ok {
			b.Fatal("no integer")
		}
	}
}
