// A worker: counts the words of texts, slowly enough to be watched.    go run ./worker 127.0.0.1:7420
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	example "longrun.example"
	pb "longrun.example/longrunv1"
)

// Each call may be repeated (only log lines stand there twice), so gRPC repeats it until there is an answer.
const again = `{"methodConfig": [{"name": [{}], "waitForReady": true, "retryPolicy": {"maxAttempts": 1000, "maxBackoff":
	"5s", "initialBackoff": "0.5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}`

var errNoText = errors.New("the input is no text of at most 3 MiB")

// countWords is the work. Its error becomes the operation's; to be stopped, its context is cancelled.
func countWords(ctx context.Context, in *pb.Payload, report func(*pb.Progress), log func(string)) (*pb.Payload, error) {
	text := in.GetData()
	if in.GetOmitted() || !utf8.Valid(text) {
		return nil, errNoText
	}
	lines := int64(bytes.Count(text, []byte("\n")))
	log(fmt.Sprintf("%d lines to read", lines))
	for line := int64(1); line <= lines && ctx.Err() == nil; line++ {
		time.Sleep(200 * time.Millisecond)
		report(&pb.Progress{DoneUnits: &line, TotalUnits: &lines})
	}
	words := fmt.Appendf(nil, `{"words": %d}`, len(bytes.Fields(text)))
	return &pb.Payload{ContentType: "application/json", Content: &pb.Payload_Data{Data: words}}, ctx.Err()
}

// failure is a report of an error. The server refuses messages of more than 64 KiB.
func failure(token, code string, err error, final bool) *pb.FailRequest {
	message := fmt.Sprintf("%.10000s", strings.ToValidUTF8(err.Error(), "?"))
	return &pb.FailRequest{Token: token, Error: &pb.Error{Code: code, Message: message}, Final: final}
}

// perform does the work, keeps its lease meanwhile, and reports; also a report that is refused.
func perform(stopping context.Context, workers pb.WorkersClient, attempt *pb.AcquiredAttempt) error {
	always, token := context.WithoutCancel(stopping), attempt.Token
	ctx, stop := context.WithCancel(always)
	defer stop()
	progress := new(atomic.Pointer[pb.Progress])
	go func() {
		defer stop()
		for r := new(pb.RenewResponse); r.GetCancel() == nil && stopping.Err() == nil && ctx.Err() == nil; time.Sleep(1e9) {
			r, _ = workers.Renew(ctx, &pb.RenewRequest{Token: token, Progress: progress.Load()})
		}
	}()
	log := func(line string) { workers.AddLog(ctx, &pb.AddLogRequest{Token: token, Lines: []string{line}}) }
	result, err := countWords(ctx, attempt.Input, progress.Store, log)
	if err == nil {
		_, err = workers.Complete(always, &pb.CompleteRequest{Token: token, Result: result})
	} else if ctx.Err() != nil {
		_, err = workers.Release(always, &pb.ReleaseRequest{Token: token})
	} else {
		_, err = workers.Fail(always, failure(token, "WORDS_NOT_COUNTED", err, err == errNoText))
	}
	if code := status.Code(err); err != nil && code != codes.FailedPrecondition && code != codes.NotFound {
		_, err = workers.Fail(always, failure(token, "REPORT_REFUSED", err, code == codes.InvalidArgument))
	}
	return err // if the attempt is over
}

// serve does one attempt after the other. A response that was lost is asked for again by the name of the request.
func serve(stopping context.Context, workers pb.WorkersClient) {
	wanted := &pb.AcquireRequest{WorkerId: "go", Kinds: []string{"count-words"}, RequestId: rand.Text()}
	for stopping.Err() == nil {
		acquired, err := workers.Acquire(stopping, wanted)
		for _, attempt := range acquired.GetAttempts() {
			wanted.RequestId = rand.Text() // or an attempt that cannot be reported would come again
			err = perform(stopping, workers, attempt)
		}
		if err != nil && stopping.Err() == nil {
			log.Print(err)
			time.Sleep(time.Second)
		}
	}
}

func main() {
	stopping, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	connection, err := example.Dial(os.Args[1], grpc.WithDefaultServiceConfig(again), grpc.WithMaxCallAttempts(1000),
		// To be back well within a lease: gRPC by itself pauses for up to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 1e9, Multiplier: 1.6, MaxDelay: 5e9}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second}))
	if err != nil {
		log.Fatal(err)
	}
	var slots sync.WaitGroup
	for range 4 {
		slots.Go(func() { serve(stopping, pb.NewWorkersClient(connection)) })
	}
	slots.Wait()
}
