package rules

// Production is the section that names production. It has no keys yet.
type Production struct{}
