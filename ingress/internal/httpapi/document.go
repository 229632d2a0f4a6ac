package httpapi

import (
	_ "embed"
	"net/http"

	"github.com/labstack/echo/v4"
)

// document describes this API (OpenAPI 3.1). A test holds the code to it, and it to the code.
//
//go:embed openapi.json
var document []byte

func (a *API) getDocument(c echo.Context) error {
	return writeJSON(c, http.StatusOK, document)
}
