package rules

// Limits is the section that bounds the load. It has no keys yet.
type Limits struct{}
