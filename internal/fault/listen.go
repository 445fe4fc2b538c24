package fault

import (
	"errors"
	"syscall"
)

// Listening says why an address given as --listen cannot be listened on.
func Listening(address string, err error) *Error {
	f := &Error{
		What: "cannot listen on " + address, Cause: err.Error(), Try: "another --listen address", Code: Usage, Err: err,
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		f.Code, f.Cause, f.Try = Failure, "the port is in use", "another --listen port, or end what uses it (ss -ltnp shows it)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.Cause, f.Try = "this machine has no such address", "one that ip address shows, or none for all: :8080"
	case errors.Is(err, syscall.EACCES):
		f.Cause, f.Try = "ports below 1024 need CAP_NET_BIND_SERVICE", "a port above 1023, or setcap cap_net_bind_service+ep tap"
	}
	return f
}
