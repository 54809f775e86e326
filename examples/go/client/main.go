// A client: submits a text, watches what becomes of it, cancels it, fetches the result.
//
//	go run ./client 127.0.0.1:7420 submit monday-1 "how many words are these"
//	go run ./client 127.0.0.1:7420 watch operations/…     (or cancel, or result)
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	example "longrun.example"
	pb "longrun.example/longrunv1"
)

// Each call may be repeated, so gRPC repeats it while no server is there.
const again = `{"methodConfig": [{"name": [{"service": "longrun.v1.Operations"}], "waitForReady": true,
	"retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.5s", "maxBackoff": "5s", "backoffMultiplier": 2,
	"retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}`

type client struct{ pb.OperationsClient }

// submit submits under a key of the caller's own: however often it is called, there is one operation.
func (c client) submit(ctx context.Context, key, text string) (string, error) {
	input := &pb.Payload{Content: &pb.Payload_Text{Text: text}}
	operation, err := c.Submit(ctx, &pb.SubmitRequest{Kind: "count-words", IdempotencyKey: key, Input: input})
	return operation.GetName(), err
}

// watch calls seen for each transition once and in order, to the last one, whatever becomes of connections and servers.
func (c client) watch(ctx context.Context, name string, seen func(*pb.Event)) (err error) {
	for after := int64(0); resumes(ctx, err); {
		var messages grpc.ServerStreamingClient[pb.WatchOperationResponse]
		messages, err = c.WatchOperation(ctx, &pb.WatchOperationRequest{Name: name, AfterRevision: &after})
		for message := new(pb.WatchOperationResponse); err == nil; message, err = messages.Recv() {
			if after = max(after, message.Revision); message.Event != nil {
				seen(message.Event)
			}
			if message.GetOperation().GetDone() {
				return nil
			}
		}
	}
	return err
}

// cancel asks for the operation to be stopped. A watch tells when it has.
func (c client) cancel(ctx context.Context, name string) error {
	_, err := c.CancelOperation(ctx, &pb.CancelOperationRequest{Name: name, Reason: "the client wants no more of it"})
	return err
}

// result returns the bytes of the result. What broke off goes on where it was.
func (c client) result(ctx context.Context, name string) (data []byte, err error) {
	for resumes(ctx, err) {
		var chunks grpc.ServerStreamingClient[pb.ReadResultResponse]
		chunks, err = c.ReadResult(ctx, &pb.ReadResultRequest{Name: name, OffsetBytes: int64(len(data))})
		for chunk := new(pb.ReadResultResponse); err == nil; chunk, err = chunks.Recv() {
			data = append(data, chunk.Data...)
		}
		if err == io.EOF {
			return data, nil
		}
	}
	return nil, err
}

// resumes tells, after a pause, whether to call again for a stream that the server, a proxy or the network has cut.
func resumes(ctx context.Context, err error) bool {
	switch status.Code(err) {
	case codes.OK: // not called yet
		return true
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Canceled: // Unknown: also io.EOF
		time.Sleep(time.Second)
		return ctx.Err() == nil
	}
	return false
}

func run(ctx context.Context, address, command string, arguments ...string) error {
	connection, err := example.Dial(address,
		grpc.WithDefaultServiceConfig(again),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second}))
	if err != nil {
		return err
	}
	defer connection.Close()
	c := client{pb.NewOperationsClient(connection)}
	switch command {
	case "submit":
		name, err := c.submit(ctx, arguments[0], arguments[1])
		if err == nil {
			fmt.Println(name)
		}
		return err
	case "watch":
		return c.watch(ctx, arguments[0], func(event *pb.Event) {
			fmt.Println(event.Revision, strings.TrimPrefix(event.State.String(), "STATE_"))
		})
	case "cancel":
		return c.cancel(ctx, arguments[0])
	case "result":
		data, err := c.result(ctx, arguments[0])
		os.Stdout.Write(data)
		return err
	}
	return fmt.Errorf("no command %q", command)
}

func main() {
	log.SetFlags(0)
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:]...); err != nil {
		log.Fatal(err)
	}
}
