// Package openloop sends HTTP/1.1 requests at a fixed rate, whatever becomes of the answers, and measures how long each
// took from the moment it was due: a server that stops for a second makes every request of that second late, also those
// that a client which waits for answers would not have sent.
//
// One thread with an epoll loop does all of it, woken by a timer of the kernel, so that what it measures is the server's
// time and little of its own. There is one for Linux only, over IPv4. It trusts its peers to answer with a Content-Length.
package openloop
