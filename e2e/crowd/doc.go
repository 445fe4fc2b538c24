// Package crowd asks for things at a given rate, whatever the answers do, and compares each answer byte by byte with what
// had to come. It is an open loop: a request is due at its time also while others hang, and its time is counted from when
// it was due, so that a freeze of a second is not seen as one slow answer but as all that should have been in it.
//
// Origin is what answers: it compares the requests as strictly.
package crowd
