// Package docker holds what docker-compose.yml and the Dockerfile promise as failing tests, which need no Docker; `make compose-test` runs the real thing
// (package live). There is nothing in it to import.
package docker
