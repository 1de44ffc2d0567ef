package health

// Dead reports whether the server itself is found down, by the probes that any living one answers: not because calls failed
// while probes were good, nor because its engine does not serve.
func (s Status) Dead() bool {
	return s.State == Down && (!s.Ejected || s.Confirmed) && !s.EngineDown
}
