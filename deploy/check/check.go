// Package check keeps deploy/ true: its tests read every file there as the program would that it is for, and parse every command
// line with our own programs. It is a module of its own, so that what it needs for that (Kustomize, Prometheus, Compose) does not
// weigh on ours. `make deploy-check` runs it.
package check
