package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/directory"
	"github.com/triggerd/triggerd/shared/strictjson"
)

var (
	missingModules = &failure{code: missingField, text: "modules is mandatory"}
	badModules     = &failure{code: invalidField, text: "modules must be an array of objects with an id (an integer from 1) and a name (a string)"}
)

// putModules declares all Modules of a bot.
func (a *API) putModules(c echo.Context) error {
	who, bot, err := a.operatorOn(c, "bot_id", badBot)
	if err != nil {
		return err
	}
	if err := checkMedia(c.Request(), "application/json"); err != nil {
		return err
	}
	s := a.scratch.get()
	defer a.scratch.put(s)
	l := loan{of: a.bodies, account: who.Account}
	defer l.end()
	if s.body, err = a.readBody(c.Request(), s.body, a.cfg.MaxBody, &l); err != nil {
		return err
	}
	modules, err := decodeModules(s.body)
	if err != nil {
		return err
	}
	if err := a.deps.Directory.Declare(c.Request().Context(), who.Account, bot, modules); err != nil {
		return declareFailure(err)
	}
	return a.showModules(c, who.Account, bot)
}

// getModules lists the Modules of a bot.
func (a *API) getModules(c echo.Context) error {
	who, bot, err := a.operatorOn(c, "bot_id", badBot)
	if err != nil {
		return err
	}
	return a.showModules(c, who.Account, bot)
}

func (a *API) showModules(c echo.Context, account, bot string) error {
	modules, ok, err := a.deps.Directory.Modules(c.Request().Context(), account, bot)
	switch {
	case err != nil:
		return noState(err)
	case !ok:
		return fail(notFound)
	}
	return writeView(c, http.StatusOK, modulesView{orEmpty(modules)})
}

func declareFailure(err error) *failure {
	var taken *directory.TakenError
	var limit *directory.LimitError
	var invalid *directory.InvalidError
	switch {
	case errors.As(err, &taken):
		return &failure{code: moduleTaken, text: "Module " + strconv.FormatInt(taken.ID, 10) + " belongs to another bot of the account"}
	case errors.As(err, &limit):
		return &failure{code: invalidField, text: fmt.Sprintf("%s is over the limit of %d", limit.Field, limit.Limit)}
	case errors.As(err, &invalid):
		return &failure{code: invalidField, text: invalid.Error()}
	}
	return &failure{code: unavailable, cause: err}
}

// decodeModules reads {"modules":[{"id":1,"name":"…"}]}.
func decodeModules(body []byte) ([]directory.Module, error) {
	var seen bool
	var list []byte
	err := strictjson.Object(body, maxDepth, func(name, value []byte) error {
		if string(name) != "modules" {
			return nil
		}
		if seen {
			return fmt.Errorf("modules: %w", errTwice)
		}
		seen, list = true, value
		return nil
	})
	switch {
	case err != nil:
		return nil, notJSON(err)
	case !seen:
		return nil, missingModules
	case list[0] != '[':
		return nil, badModules
	}
	return decodeModuleList(list)
}

func decodeModuleList(list []byte) ([]directory.Module, error) {
	modules := []directory.Module{}
	err := strictjson.Array(list, maxDepth, func(element []byte) error {
		m, err := decodeModule(element)
		modules = append(modules, m)
		return err
	})
	return modules, err
}

func decodeModule(element []byte) (m directory.Module, err error) {
	if element[0] != '{' {
		return m, badModules
	}
	var id, named bool
	err = strictjson.Object(element, maxDepth, func(name, value []byte) error {
		switch string(name) {
		case "id":
			if id {
				return notJSON(fmt.Errorf("id: %w", errTwice))
			}
			m.ID, id = moduleID(value)
			if !id || m.ID < 1 {
				return badModules
			}
		case "name":
			if named {
				return notJSON(fmt.Errorf("name: %w", errTwice))
			}
			var text []byte
			if text, named = strictjson.String(value); !named {
				return badModules
			}
			m.Name = string(text)
		}
		return nil
	})
	if err == nil && (!id || !named) {
		err = badModules
	}
	return m, err
}
