// Package fault is the error that a person reads: what happened, why, and what to try.
package fault

import "errors"

// Exit codes shared by the three programs.
const (
	OK          = 0
	Failure     = 1
	Usage       = 2 // usage or configuration
	Finding     = 3 // a threshold, a difference or a lint finding
	Incomplete  = 4 // some records were lost, or only a part could be read
	Interrupted = 130
)

// Error says what failed and how to go on. What is required; the rest may be empty.
type Error struct {
	What  string // one line, lower case, naming the thing: `topic "x" does not exist on 127.0.0.1:9092`
	Cause string
	Try   string // a command or a flag
	Code  int    // exit code; 0 means Failure
	Err   error  // wrapped
}

// New returns an Error with exit code Failure.
func New(what, cause, try string) *Error { return &Error{What: what, Cause: cause, Try: try} }

// BadUsage returns an Error with exit code Usage.
func BadUsage(what, cause, try string) *Error {
	return &Error{What: what, Cause: cause, Try: try, Code: Usage}
}

// Error returns What, with the cause behind it.
func (e *Error) Error() string {
	if e.Cause == "" {
		return e.What
	}
	return e.What + ": " + e.Cause
}

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the exit code for err: 0 for nil, an Error's own, else Failure.
func Code(err error) int {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code != 0 {
		return e.Code
	}
	return Failure
}
