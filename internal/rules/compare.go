package rules

// Compare is the section that compares answers. It has no keys yet.
type Compare struct{}
