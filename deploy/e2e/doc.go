// Package e2e tests what only shows when several ingresses, a worker and a broker are apart: they run as they do in processes of their own, over
// connections of their own, to a real server that is stopped, killed and restarted; where a crash is meant, the worker is another process. There
// is nothing in it to import.
package e2e
