//go:build !race

package proxy

// raceEnabled says that the race detector is on, which allocates.
const raceEnabled = false
