// Package settings tests what all programs can be told, together: that no setting is unknown to anybody, that what is wrong is one fault which names
// what to mend, that settings which contradict each other do not start, and that nothing shows a secret. There is nothing in it to import.
package settings
