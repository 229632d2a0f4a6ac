// Package systemd holds what the units beside it promise as failing tests, which need no systemd. There is nothing in it to import.
package systemd
