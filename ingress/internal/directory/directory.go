// Package directory knows which Modules each account has, and to which bot each belongs: KV bucket MODULES, one key
// per account, watched.
package directory

import (
	"context"
	"errors"
)

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

// Directory is safe for concurrent use.
type Directory struct{}

// Bot returns the bot that has the module. A module that the watched copy does not have is looked up at the bucket's leader before it
// is called unknown (ok false). err: the leader could not be asked.
func (d *Directory) Bot(ctx context.Context, account string, module int64) (bot string, ok bool, err error) {
	panic("skeleton")
}

// Declare replaces the bot's whole module set (compare-and-set). Errors: *TakenError; limits; broker.
func (d *Directory) Declare(ctx context.Context, account, bot string, modules []Module) error {
	panic("skeleton")
}

// Modules lists a bot's modules, sorted by id; ok false if the bot was never declared.
func (d *Directory) Modules(ctx context.Context, account, bot string) (modules []Module, ok bool, err error) {
	panic("skeleton")
}
