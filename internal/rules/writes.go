package rules

// Writes is the section that allows writes. It has no keys yet.
type Writes struct{}
