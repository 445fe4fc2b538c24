package traffic

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// GRPCMessage is one message of a gRPC stream.
type GRPCMessage struct {
	Compressed bool   // by the coding that the grpc-encoding field names
	Data       []byte // aliases the body
}

// grpcPrefix is what stands before a message: a flag and its length.
const grpcPrefix = 5

// GRPCMessages splits a body into its messages, at most limit of them. rest is what is left: messages beyond the limit, or
// one that is not whole.
func GRPCMessages(body []byte, limit int) (messages []GRPCMessage, rest []byte) {
	for len(messages) < limit && len(body) >= grpcPrefix {
		n := uint64(binary.BigEndian.Uint32(body[1:])) + grpcPrefix
		if n > uint64(len(body)) {
			break
		}
		messages = append(messages, GRPCMessage{Compressed: body[0]&1 != 0, Data: body[grpcPrefix:n:n]})
		body = body[n:]
	}
	return messages, body
}

// IsGRPC reports whether the fields are those of a gRPC message stream.
func IsGRPC(headers []Field) bool {
	kind, _ := Get(headers, "content-type")
	const grpc = "application/grpc"
	if len(kind) < len(grpc) || !EqualName(kind[:len(grpc)], grpc) {
		return false
	}
	return len(kind) == len(grpc) || bytes.IndexByte([]byte("+; "), kind[len(grpc)]) >= 0
}

// GRPCMethod returns the method that a gRPC request calls, as "/package.Service/Method", and whether it is one.
func (x *Exchange) GRPCMethod() ([]byte, bool) {
	if !IsGRPC(x.Request.Headers) {
		return nil, false
	}
	method, _, _ := bytes.Cut(x.Request.Target, []byte("?"))
	return method, true
}

// GRPCStatus returns the status that a call ended with (0: well), and whether one was seen.
func (x *Exchange) GRPCStatus() (int, bool) {
	if x.Response == nil {
		return 0, false
	}
	return x.Response.GRPCStatus()
}

// GRPCStatus returns the status that a call ended with (0: well), and whether there is one: in the trailers, or in the
// header of an answer that has nothing else.
func (r *Response) GRPCStatus() (int, bool) {
	status, ok := Get(r.Trailers, "grpc-status")
	if !ok {
		status, ok = Get(r.Headers, "grpc-status")
	}
	if !ok {
		return 0, false
	}
	code, err := strconv.ParseUint(string(status), 10, 16)
	return int(code), err == nil
}
