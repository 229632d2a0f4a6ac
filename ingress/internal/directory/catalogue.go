package directory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Bounds of what is declared, besides those in Config.
const (
	MaxBotBytes  = 256 // a bot's id
	MaxNameBytes = 256 // a Module's name
)

// valueVersion is the format of an account's value. A value with another one is an error to every reader, so that nobody writes over what
// a newer triggerd has declared.
const valueVersion = 1

// errUnreadable: an account's value is not in the format that this code reads.
var errUnreadable = errors.New("modules are unreadable")

// Module is one Module of a bot.
type Module struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// ErrTaken: a Module id belongs to another bot of the account.
var ErrTaken = errors.New("module id belongs to another bot")

// TakenError names the id and the bot that has it; it unwraps to ErrTaken.
type TakenError struct {
	ID  int64
	Bot string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("module id %d belongs to bot %q", e.ID, e.Bot)
}

func (e *TakenError) Unwrap() error { return ErrTaken }

// LimitError: what was declared is more than is allowed.
type LimitError struct {
	Field string // "bot_id" (bytes), "modules" (of a bot), "name" (bytes), "bots" (of the account), "account" (bytes of its whole set)
	Limit int
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s over the limit of %d", e.Field, e.Limit) }

// InvalidError: what was declared cannot be.
type InvalidError struct {
	Field  string // "bot_id", "modules", "name"
	Reason string // for a person
}

func (e *InvalidError) Error() string { return e.Field + " " + e.Reason }

// catalogue is one account's Modules at a revision. It is immutable: its readers hold no lock.
type catalogue struct {
	revision uint64              // of the key; 0 = there is no such key
	bots     map[string][]Module // each sorted by id
	owners   map[int64]string
}

// value is a catalogue in the bucket.
type value struct {
	Version int                 `json:"version"`
	Bots    map[string][]Module `json:"bots"`
}

// parse reads an account's value. Empty data is that of a deleted key.
func parse(data []byte, revision uint64) (*catalogue, error) {
	if len(data) == 0 {
		return index(nil, revision), nil
	}
	var v value
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("%w at revision %d: %w", errUnreadable, revision, err)
	}
	if v.Version != valueVersion {
		return nil, fmt.Errorf("%w at revision %d: unknown version %d", errUnreadable, revision, v.Version)
	}
	return index(v.Bots, revision), nil
}

func index(bots map[string][]Module, revision uint64) *catalogue {
	c := &catalogue{revision: revision, bots: bots, owners: map[int64]string{}}
	for bot, modules := range bots {
		for _, m := range modules {
			c.owners[m.ID] = bot
		}
	}
	return c
}

// encode renders the catalogue; equal ones to equal bytes.
func (c *catalogue) encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value{valueVersion, c.bots}); err != nil {
		return nil, fmt.Errorf("encode modules: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// with returns the catalogue in which bot has exactly these modules, which normalize made. Errors: *TakenError, *LimitError.
func (c *catalogue) with(bot string, modules []Module, maxBots int) (*catalogue, error) {
	for _, m := range modules {
		if owner, taken := c.owners[m.ID]; taken && owner != bot {
			return nil, &TakenError{ID: m.ID, Bot: owner}
		}
	}
	bots := maps.Clone(c.bots)
	if bots == nil {
		bots = map[string][]Module{}
	}
	bots[bot] = modules
	if len(bots) > maxBots {
		return nil, &LimitError{Field: "bots", Limit: maxBots}
	}
	return index(bots, c.revision), nil
}

// has reports whether bot is declared with exactly these modules.
func (c *catalogue) has(bot string, modules []Module) bool {
	old, ok := c.bots[bot]
	return ok && slices.Equal(old, modules)
}

// normalize checks a declared set by itself and returns a copy of it, sorted by id. Errors: *LimitError, *InvalidError.
func normalize(bot string, modules []Module, maxModules int) ([]Module, error) {
	if err := checkText("bot_id", bot, MaxBotBytes); err != nil {
		return nil, err
	}
	if bot == "" {
		return nil, &InvalidError{Field: "bot_id", Reason: "is empty"}
	}
	if len(modules) > maxModules {
		return nil, &LimitError{Field: "modules", Limit: maxModules}
	}
	sorted := append([]Module{}, modules...) // never nil: a bot without Modules is declared all the same
	slices.SortFunc(sorted, func(a, b Module) int { return cmp.Compare(a.ID, b.ID) })
	for i, m := range sorted {
		if err := checkText("name", m.Name, MaxNameBytes); err != nil {
			return nil, err
		}
		if i > 0 && sorted[i-1].ID == m.ID {
			return nil, &InvalidError{Field: "modules", Reason: fmt.Sprintf("has the id %d twice", m.ID)}
		}
	}
	return sorted, nil
}

// checkText refuses what is too long, is not text, or would garble a terminal.
func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return &LimitError{Field: field, Limit: limit}
	}
	if !utf8.ValidString(s) {
		return &InvalidError{Field: field, Reason: "is not UTF-8"}
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return &InvalidError{Field: field, Reason: "has a control character"}
		}
	}
	return nil
}
