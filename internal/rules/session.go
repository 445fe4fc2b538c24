package rules

// Session is the section that keeps sessions going. It has no keys yet.
type Session struct{}
