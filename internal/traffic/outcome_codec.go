package traffic

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// AppendOutcome appends o as a protobuf reprise.v1.Outcome, byte for byte what proto.Marshal gives.
func AppendOutcome(b []byte, o *Outcome) []byte {
	b = appendString(b, 1, o.Run)
	b = appendVarint(b, 2, uint64(o.Loop))
	b = appendVarint(b, 3, uint64(o.Clone))
	if o.ExchangeID != (ID{}) {
		b = appendBytes(b, 4, o.ExchangeID[:])
	}
	b = appendVarint(b, 5, uint64(o.Attempt))
	b = appendVarint(b, 6, uint64(o.Partition))
	b = appendVarint(b, 7, uint64(o.Offset))
	b = appendVarint(b, 8, uint64(o.Result))
	b = appendString(b, 9, o.Reason)
	b = appendString(b, 10, o.Detail)
	b = appendFixed64(b, 11, unixNano(o.CaptureTime))
	b = appendFixed64(b, 12, unixNano(o.DueTime))
	b = appendFixed64(b, 13, unixNano(o.FireTime))
	b = appendVarint(b, 14, uint64(o.TTFB))
	b = appendVarint(b, 15, uint64(o.Duration))
	b = appendVarint(b, 16, uint64(o.Status))
	b = appendVarint(b, 17, uint64(o.RecordedStatus))
	b = appendVarint(b, 18, uint64(o.RecordedDuration))
	b = appendVarint(b, 19, uint64(o.Verdict))
	for i := range o.Differences {
		b = appendMessage(b, 20, func(b []byte) []byte { return appendDifference(b, &o.Differences[i]) })
	}
	b = appendBytes(b, 21, o.Method)
	b = appendBytes(b, 22, o.Route)
	if o.Answer != nil {
		b = appendMessage(b, 23, func(b []byte) []byte { return appendResponse(b, o.Answer) })
	}
	b = appendVarint(b, 24, uint64(o.BodySize))
	b = appendVarint(b, 25, uint64(o.Generation))
	if o.Baseline != nil {
		b = appendMessage(b, 26, func(b []byte) []byte { return appendBaseline(b, o.Baseline) })
	}
	return b
}

func appendBaseline(b []byte, base *Baseline) []byte {
	b = appendString(b, 1, base.Reason)
	b = appendVarint(b, 2, uint64(base.Status))
	b = appendVarint(b, 3, uint64(base.Duration))
	if base.Twice {
		b = appendVarint(b, 4, 1)
	}
	for i := range base.Own {
		b = appendMessage(b, 5, func(b []byte) []byte { return appendDifference(b, &base.Own[i]) })
	}
	for i := range base.Noise {
		b = appendMessage(b, 6, func(b []byte) []byte { return appendDifference(b, &base.Noise[i]) })
	}
	return appendVarint(b, 7, uint64(base.Recorded))
}

func appendDifference(b []byte, d *Difference) []byte {
	b = appendString(b, 1, d.Path)
	b = appendVarint(b, 2, uint64(d.Kind))
	b = appendBytes(b, 3, d.Recorded)
	return appendBytes(b, 4, d.Got)
}

// DecodeOutcome reads a protobuf reprise.v1.Outcome into o, replacing what o held. Byte slices in o alias b. Unknown
// fields are skipped; an error wraps ErrCorrupt.
func DecodeOutcome(b []byte, o *Outcome) error {
	*o = Outcome{}
	err := fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			o.Run = string(p)
		case 2:
			o.Loop = uint32(v)
		case 3:
			o.Clone = uint32(v)
		case 4:
			if len(p) != len(o.ExchangeID) {
				return fmt.Errorf("exchange id has %d bytes, want %d", len(p), len(o.ExchangeID))
			}
			o.ExchangeID = ID(p)
		case 5:
			o.Attempt = uint32(v)
		case 6:
			o.Partition = int32(v)
		case 7:
			o.Offset = int64(v)
		case 8:
			o.Result = Result(v)
		case 9:
			o.Reason = string(p)
		case 10:
			o.Detail = string(p)
		case 11:
			o.CaptureTime = fromUnixNano(v)
		case 12:
			o.DueTime = fromUnixNano(v)
		case 13:
			o.FireTime = fromUnixNano(v)
		case 14:
			o.TTFB = time.Duration(v)
		case 15:
			o.Duration = time.Duration(v)
		case 16:
			o.Status = int(uint32(v))
		case 17:
			o.RecordedStatus = int(uint32(v))
		case 18:
			o.RecordedDuration = time.Duration(v)
		case 19:
			o.Verdict = Verdict(v)
		case 20:
			d, err := decodeDifference(p)
			o.Differences = append(o.Differences, d)
			return err
		case 21:
			o.Method = p
		case 22:
			o.Route = p
		case 23:
			o.Answer = new(Response)
			return decodeResponse(p, o.Answer)
		case 24:
			o.BodySize = int64(v)
		case 25:
			o.Generation = uint32(v)
		case 26:
			o.Baseline = new(Baseline)
			return decodeBaseline(p, o.Baseline)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: outcome: %w", ErrCorrupt, err)
	}
	return nil
}

func decodeBaseline(b []byte, base *Baseline) error {
	return fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			base.Reason = string(p)
		case 2:
			base.Status = int(uint32(v))
		case 3:
			base.Duration = time.Duration(v)
		case 4:
			base.Twice = v != 0
		case 5:
			d, err := decodeDifference(p)
			base.Own = append(base.Own, d)
			return err
		case 6:
			d, err := decodeDifference(p)
			base.Noise = append(base.Noise, d)
			return err
		case 7:
			base.Recorded = Verdict(v)
		}
		return nil
	})
}

func decodeDifference(b []byte) (d Difference, err error) {
	err = fields(b, func(num protowire.Number, v uint64, p []byte) error {
		switch num {
		case 1:
			d.Path = string(p)
		case 2:
			d.Kind = DifferenceKind(v)
		case 3:
			d.Recorded = p
		case 4:
			d.Got = p
		}
		return nil
	})
	return d, err
}
