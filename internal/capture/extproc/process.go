package extproc

import (
	"errors"
	"io"
	"net"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// processor is the gRPC service, apart from Server so that nobody calls Process but gRPC.
type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
	s *Server
}

type stream = grpc.BidiStreamingServer[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]

// Process reads one exchange. Its error is always nil: an error would only be counted by Envoy as a failure of its own,
// and there is nobody else to read it.
func (p processor) Process(st stream) error {
	s := p.s
	s.stats.accepted.Add(1)
	defer s.stats.streams.Add(-1)
	rec := newRecording(s, gatewayOf(st))
	defer rec.survive()
	if s.stats.streams.Add(1) > int64(s.cfg.MaxStreams) {
		rec.lose(LostStreams)
	}
	s.read(st, rec)
	return nil
}

// read hands messages to rec until it wants no more, or there are none.
func (s *Server) read(st stream, rec *recording) {
	waits := false // Envoy waits for an answer to each message
	var modes *extprocv3.ProtocolConfiguration
	for first := true; ; first = false {
		m, err := st.Recv()
		if err != nil {
			rec.end(errors.Is(err, io.EOF), time.Now())
			return
		}
		if first && !m.GetObservabilityMode() {
			waits, modes = true, m.GetProtocolConfig()
			s.waitedFor()
		}
		over := rec.handle(m, time.Now())
		switch {
		case waits: // to the end, whatever rec wants: what Envoy has sent and nobody has answered may be lost to production
			if st.Send(answer(m, modes)) != nil {
				rec.end(false, time.Now())
				return
			}
		case over:
			return
		}
	}
}

// waitedFor counts the stream of an Envoy that waits, and says once what that means.
func (s *Server) waitedFor() {
	s.stats.waiting.Add(1)
	s.shout.Do(func() {
		s.cfg.Logger.Warn("AN ENVOY WAITS FOR THIS TAP: set observability_mode: true in its ext_proc filter, " +
			"or each of its requests is held up until the tap has answered")
	})
}

// gatewayOf is the address of the Envoy at the other end, without its port: the connections of one Envoy to us come and
// go while those of its clients stay.
func gatewayOf(st stream) string {
	p, ok := peer.FromContext(st.Context())
	if !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}
