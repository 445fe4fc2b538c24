package rules

// Rewrite is the section that changes requests. It has no keys yet.
type Rewrite struct{}
