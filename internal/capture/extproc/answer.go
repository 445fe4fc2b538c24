package extproc

import (
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// answer lets an Envoy go on that waits, with nothing changed. modes are those of the stream's first message.
func answer(m *extprocv3.ProcessingRequest, modes *extprocv3.ProtocolConfiguration) *extprocv3.ProcessingResponse {
	a := &extprocv3.ProcessingResponse{}
	switch part := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		a.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		a.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{}}
	case *extprocv3.ProcessingRequest_RequestBody:
		a.Response = &extprocv3.ProcessingResponse_RequestBody{RequestBody: bodyAnswer(part.RequestBody, modes.GetRequestBodyMode())}
	case *extprocv3.ProcessingRequest_ResponseBody:
		a.Response = &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: bodyAnswer(part.ResponseBody, modes.GetResponseBodyMode())}
	case *extprocv3.ProcessingRequest_RequestTrailers:
		a.Response = &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{}}
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		a.Response = &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}
	}
	return a
}

// bodyAnswer sends the piece back in the modes in which Envoy has given it away and passes on what it gets.
func bodyAnswer(b *extprocv3.HttpBody, mode filterv3.ProcessingMode_BodySendMode) *extprocv3.BodyResponse {
	if mode != filterv3.ProcessingMode_FULL_DUPLEX_STREAMED && mode != filterv3.ProcessingMode_GRPC {
		return &extprocv3.BodyResponse{}
	}
	same := &extprocv3.StreamedBodyResponse{
		Body: b.GetBody(), EndOfStream: b.GetEndOfStream(), EndOfStreamWithoutMessage: b.GetEndOfStreamWithoutMessage(),
		GrpcMessageCompressed: b.GetGrpcMessageCompressed(),
	}
	return &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: &extprocv3.BodyMutation{
		Mutation: &extprocv3.BodyMutation_StreamedResponse{StreamedResponse: same},
	}}}
}
