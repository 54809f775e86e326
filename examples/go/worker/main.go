// A worker: counts the words of texts, slowly enough to be watched.    go run ./worker 127.0.0.1:7420
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	pb "longrun.example/longrunv1"
)

// What a worker says of its attempt it may say again (only log lines stand there twice): so gRPC does, until there is an answer.
const again = `{"methodConfig": [{"name": [{}], "waitForReady": true, "retryPolicy": {"maxAttempts": 1000,
	"initialBackoff": "0.5s", "maxBackoff": "5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}`

var errNoText = errors.New("the input is no text")

// countWords is the work. Its error becomes the operation's; to be stopped, its context is cancelled.
func countWords(ctx context.Context, text string, progress *atomic.Pointer[pb.Progress], log func(string)) (string, error) {
	if !utf8.ValidString(text) {
		return "", errNoText
	}
	lines := int64(strings.Count(text, "\n"))
	log(fmt.Sprintf("%d lines to read", lines))
	for line := range lines {
		select {
		case <-time.After(200 * time.Millisecond):
			progress.Store(&pb.Progress{DoneUnits: &line, TotalUnits: &lines})
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf(`{"words": %d}`, len(strings.Fields(text))), nil
}

// worker makes the calls of a worker.
type worker struct {
	pb.WorkersClient
	pb.OperationsClient
}

// input returns the contents of an attempt's input, which do not come along if they are large.
func (w worker) input(ctx context.Context, attempt *pb.AcquiredAttempt) (text []byte, err error) {
	if !attempt.GetInput().GetOmitted() {
		return attempt.GetInput().GetData(), nil
	}
	chunks, err := w.ReadInput(ctx, &pb.ReadInputRequest{Name: attempt.Operation.Name, AttemptToken: attempt.Token})
	for err == nil {
		var chunk *pb.ReadInputResponse
		chunk, err = chunks.Recv()
		text = append(text, chunk.GetData()...)
	}
	if err == io.EOF {
		err = nil
	}
	return text, err
}

// perform does the work, keeps its lease meanwhile, and reports. Returns what the server refuses a report with.
func (w worker) perform(stopping context.Context, attempt *pb.AcquiredAttempt) error {
	always, token := context.WithoutCancel(stopping), attempt.Token
	ctx, stop := context.WithCancel(stopping)
	defer stop()
	progress := new(atomic.Pointer[pb.Progress])
	renew := func() (*pb.RenewResponse, error) {
		return w.Renew(always, &pb.RenewRequest{Token: token, Progress: progress.Load()})
	}
	go func() {
		defer stop() // somebody has cancelled the operation, or the attempt is over
		for renewed, err := renew(); err == nil && renewed.Cancel == nil && ctx.Err() == nil; renewed, err = renew() {
			time.Sleep(time.Second)
		}
	}()
	text, err := w.input(ctx, attempt)
	var words string
	if err == nil {
		words, err = countWords(ctx, string(text), progress, func(line string) {
			w.AddLog(ctx, &pb.AddLogRequest{Token: token, Lines: []string{line}})
		})
	}
	if err == nil {
		result := &pb.Payload{ContentType: "application/json", Content: &pb.Payload_Data{Data: []byte(words)}}
		_, err = w.Complete(always, &pb.CompleteRequest{Token: token, Result: result})
	}
	if err != nil && ctx.Err() != nil {
		renew() // lets the other slots stop to wait, or they would be given this attempt
		_, err = w.Release(always, &pb.ReleaseRequest{Token: token})
	} else if err != nil {
		failure := &pb.Error{Code: "WORDS_NOT_COUNTED", Message: err.Error()}
		_, err = w.Fail(always, &pb.FailRequest{Token: token, Error: failure, Final: err == errNoText})
	}
	return err
}

// serve does one attempt after the other.
func (w worker) serve(stopping context.Context) {
	for stopping.Err() == nil {
		acquired, err := w.Acquire(stopping, &pb.AcquireRequest{WorkerId: "go", Kinds: []string{"count-words"}})
		for _, attempt := range acquired.GetAttempts() {
			err = w.perform(stopping, attempt)
		}
		if err != nil && stopping.Err() == nil {
			log.Print(err)
			time.Sleep(time.Second)
		}
	}
}

func main() {
	stopping, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	back := backoff.DefaultConfig
	back.MaxDelay = 5 * time.Second // to be back well within a lease; the default is two minutes
	connection, err := grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(again),
		grpc.WithMaxCallAttempts(1000),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: back, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(8<<20)), // what is larger is not sent again
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second}))
	if err != nil {
		log.Fatal(err)
	}
	var slots sync.WaitGroup
	for range 4 {
		slots.Go(func() { worker{pb.NewWorkersClient(connection), pb.NewOperationsClient(connection)}.serve(stopping) })
	}
	slots.Wait()
}
