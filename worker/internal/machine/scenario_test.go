package machine_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the then-parts of testdata/*.txt")

// Each file of testdata is one rule: a comment that states it, what was given, when what happened, and then what
// followed. The then-parts are golden: they are what the log means. A change of one is a change of the machine's version.
//
// given and when hold one message of the log a line (a line that begins with + joins the message
// before it); testdata/README.md explains the language.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find scenarios: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { testScenario(t, file) })
	}
}

func testScenario(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(data)
	got := tell(t, want)
	if got == want {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s tells another story now (go test -update rewrites it):\n%s", file, diffLines(want, got))
}

// tell acts out a scenario and returns its text with the then-parts as they come out.
func tell(t *testing.T, text string) string {
	var out strings.Builder
	st := newStage(t)
	section := ""
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch word := strings.TrimSpace(line); {
		case word == "given" || word == "when" || word == "then":
			section = word
			out.WriteString(line + "\n")
			if section == "then" {
				out.WriteString(st.then())
			}
		case section == "then" && strings.HasPrefix(line, " "):
			// told anew
		case word == "" || strings.HasPrefix(word, "#"):
			out.WriteString(line + "\n")
		default:
			st.do(i+1, section == "when", word)
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}
