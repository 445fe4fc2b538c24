//go:build race

package nethttp

// raceEnabled: sync.Pool loses some of its content on purpose.
const raceEnabled = true
