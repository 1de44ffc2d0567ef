//go:build race

package transport

// raceEnabled says that the race detector is on, which allocates.
const raceEnabled = true
