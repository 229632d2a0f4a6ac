// Package archtest holds the architecture as failing tests: which package may import which, and why not. There is nothing
// in it to import.
package archtest
