package sniff

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/reprise-io/reprise/internal/fault"
)

// openFault says why the kernel does not let us listen, and what would help.
func openFault(cfg *Config, err error) error {
	f := &fault.Error{What: "cannot capture on " + cfg.Interface, Cause: err.Error(), Err: err}
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		f.Cause = "capturing packets needs the capability CAP_NET_RAW, which this process does not have"
		f.Try = "sudo setcap cap_net_raw+ep \"$(command -v tap)\"; docker run --cap-add NET_RAW --network host; " +
			"Kubernetes: hostNetwork and securityContext.capabilities.add: [NET_RAW]"
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		f.Cause = "this kernel or sandbox has no packet sockets (AF_PACKET)"
		f.Try = "capture elsewhere: tap proxy in the line, or tap import of a file that tcpdump wrote"
	case errors.Is(err, unix.ENOMEM):
		f.Try = "a smaller --ring"
	case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		f.Try = "ip link set " + cfg.Interface + " up"
	}
	return f
}

// unknownInterface lists those that there are.
func unknownInterface(name string, all []net.Interface) error {
	names := make([]string, 0, len(all))
	for _, i := range all {
		text := i.Name
		if i.Flags&net.FlagUp == 0 {
			text += " (down)"
		}
		names = append(names, text)
	}
	return fault.BadUsage(fmt.Sprintf("there is no interface %q", name), "interfaces here: "+strings.Join(names, ", "),
		"--interface with one of them, or any for all")
}
