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

// Each call may be repeated (only log lines stand there twice), so gRPC repeats it until there is an answer.
const again = `{"methodConfig": [{"name": [{}], "waitForReady": true, "retryPolicy": {"maxAttempts": 1000,
	"initialBackoff": "0.5s", "maxBackoff": "5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}`

var errNoText = errors.New("the input is no text of at most 3 MiB")

// countWords is the work. Its error becomes the operation's; to be stopped, its context is cancelled.
func countWords(ctx context.Context, input *pb.Payload, progress *atomic.Pointer[pb.Progress], log func(string)) ([]byte, error) {
	text := input.GetData()
	if input.GetOmitted() || !utf8.Valid(text) {
		return nil, errNoText
	}
	lines := int64(bytes.Count(text, []byte("\n")))
	log(fmt.Sprintf("%d lines to read", lines))
	for line := int64(1); line <= lines && ctx.Err() == nil; line++ {
		time.Sleep(200 * time.Millisecond)
		progress.Store(&pb.Progress{DoneUnits: &line, TotalUnits: &lines})
	}
	return fmt.Appendf(nil, `{"words": %d}`, len(bytes.Fields(text))), ctx.Err()
}

// perform does the work, keeps its lease meanwhile, and reports. Returns what the server refuses a report with.
func perform(stopping context.Context, workers pb.WorkersClient, attempt *pb.AcquiredAttempt) error {
	always, token := context.WithoutCancel(stopping), attempt.Token
	ctx, stop := context.WithCancel(always)
	defer stop()
	progress := new(atomic.Pointer[pb.Progress])
	go func() {
		defer stop()
		for renewed := new(pb.RenewResponse); renewed.GetCancel() == nil && stopping.Err() == nil && ctx.Err() == nil; time.Sleep(time.Second) {
			renewed, _ = workers.Renew(ctx, &pb.RenewRequest{Token: token, Progress: progress.Load()})
		}
	}()
	words, err := countWords(ctx, attempt.Input, progress, func(line string) {
		workers.AddLog(ctx, &pb.AddLogRequest{Token: token, Lines: []string{line}})
	})
	if err == nil {
		result := &pb.Payload{ContentType: "application/json", Content: &pb.Payload_Data{Data: words}}
		_, err = workers.Complete(always, &pb.CompleteRequest{Token: token, Result: result})
	} else if ctx.Err() != nil {
		_, err = workers.Release(always, &pb.ReleaseRequest{Token: token})
	} else {
		failure := &pb.Error{Code: "WORDS_NOT_COUNTED", Message: err.Error()}
		_, err = workers.Fail(always, &pb.FailRequest{Token: token, Error: failure, Final: err == errNoText})
	}
	return err
}

// serve does one attempt after the other. A response that was lost is asked for again by the name of the request.
func serve(stopping context.Context, workers pb.WorkersClient) {
	wanted := &pb.AcquireRequest{WorkerId: "go", Kinds: []string{"count-words"}, RequestId: rand.Text()}
	for stopping.Err() == nil {
		acquired, err := workers.Acquire(stopping, wanted)
		for _, attempt := range acquired.GetAttempts() {
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
	connection, err := grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(again), grpc.WithMaxCallAttempts(1000),
		// To be back well within a lease: gRPC by itself pauses for up to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, MaxDelay: 5 * time.Second}}),
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
