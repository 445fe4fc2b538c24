package importer

import (
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// trafficStream is what one record of the OpenSearch traffic capture holds: the next piece of one connection. Only what
// is needed here is read; the numbers are those of its protobuf fields.
type trafficStream struct {
	connection   []byte // 1
	node         []byte // 5: connections are told apart within it
	number       int64  // 3, or 4 when it is the last of the connection
	last         bool
	insideRead   bool // 7: the piece before ended within a request
	observations [][]byte
}

var errNoStream = errors.New("it is no traffic stream")

func parseStream(b []byte) (s trafficStream, err error) {
	err = eachField(b, func(num protowire.Number, v uint64, p []byte) {
		switch num {
		case 1:
			s.connection = p
		case 2:
			s.observations = append(s.observations, p)
		case 3:
			s.number = int64(v)
		case 4:
			s.number, s.last = int64(v), true
		case 5:
			s.node = p
		case 7:
			s.insideRead = v != 0
		}
	})
	if err == nil && len(s.connection) == 0 {
		err = errNoStream
	}
	return s, err
}

// event is what was observed.
type event uint8

// The events that matter.
const (
	nothing event = iota
	clientSent
	serverSent
	requestEnded
	requestDropped // by the capture's own choice; what came of it before counts for nothing
	connectionEnded
)

// parseObservation reads one observation. Several of one oneof are the last one's.
func parseObservation(b []byte) (at time.Time, what event, data []byte, err error) {
	err = eachField(b, func(num protowire.Number, _ uint64, p []byte) {
		switch num {
		case 1:
			at = parseTimestampMessage(p)
		case 4, 5:
			what, data = clientSent, onlyBytes(p)
		case 8, 9:
			what, data = serverSent, onlyBytes(p)
		case 10, 11, 12:
			what = connectionEnded
		case 15:
			what = requestEnded
		case 16:
			what = requestDropped
		}
	})
	return at, what, data, err
}

func parseTimestampMessage(b []byte) time.Time {
	var seconds, nanos int64
	_ = eachField(b, func(num protowire.Number, v uint64, _ []byte) {
		switch num {
		case 1:
			seconds = int64(v)
		case 2:
			nanos = int64(int32(v))
		}
	})
	if seconds <= 0 || seconds > 9e9 || nanos < 0 || nanos >= int64(time.Second) {
		return time.Time{}
	}
	return time.Unix(seconds, nanos).UTC()
}

// onlyBytes returns the one field of a message that is bytes.
func onlyBytes(b []byte) (data []byte) {
	_ = eachField(b, func(_ protowire.Number, _ uint64, p []byte) {
		if p != nil {
			data = p
		}
	})
	return data
}

// eachField walks over a protobuf message: v for varints, p (never nil) for what has a length.
func eachField(b []byte, each func(num protowire.Number, v uint64, p []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var v uint64
		var p []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			p, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		each(num, v, p)
		b = b[n:]
	}
	return nil
}
