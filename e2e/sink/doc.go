// Package sink is an HTTP/1.1 target that does nothing but note what arrives and when. One thread with an epoll loop
// does all of it, so that the time it notes is the time of arrival and not of a goroutine's wake-up, and so that it
// takes as little as it can of a machine that is shared with what is measured. There is one for Linux only.
//
// It is for tests on loopback: it trusts its peers to send requests with a Content-Length or without a body.
package sink
