// Google's Go client for long-running operations, unmodified, over gRPC and over REST.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"cloud.google.com/go/longrunning"
	autogen "cloud.google.com/go/longrunning/autogen"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	longrunv1 "longrun.test/google-go/longrun/v1"
)

// Poll schedules of these clients begin at a second.
const deadline = 30 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for range 60 {
		submit("go-many", "")
	}

	conn, err := grpc.NewClient(os.Getenv("LONGRUN_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	client, err := autogen.NewOperationsClient(ctx, option.WithGRPCConn(conn))
	must(err)
	life(ctx, "gRPC", client)
	pages(ctx, "gRPC", client, "tenants/default", 50, 10)
	waits(ctx, client)

	rest, err := autogen.NewOperationsRESTClient(ctx,
		option.WithEndpoint(os.Getenv("LONGRUN_URL")), option.WithHTTPClient(http.DefaultClient))
	must(err)
	life(ctx, "REST", rest)
	pages(ctx, "REST", rest, "tenants/default/operations", 50, 10)

	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "cloud.google.com/go/longrunning" || module.Path == "google.golang.org/grpc" {
			fmt.Printf("client: %s %s\n", module.Path, module.Version)
		}
	}
	fmt.Println("case: gRPC and REST: result, error with details, metadata, time-out, cancel, delete, pages")
	fmt.Println("case: WaitOperation over gRPC")
}

// life lets operations end in every way.
func life(ctx context.Context, how string, client *autogen.OperationsClient) {
	begin := func(kind, input string) *longrunning.Operation {
		request := &longrunningpb.GetOperationRequest{Name: submit(kind, input)}
		first, err := client.GetOperation(ctx, request)
		must(err)
		return longrunning.InternalNewOperation(client, first)
	}
	wait := func(operation *longrunning.Operation, within time.Duration) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		var result httpbody.HttpBody
		err := operation.WaitWithInterval(ctx, &result, time.Second)
		return string(result.Data), err
	}

	done := begin("shout", "hello")
	result, err := wait(done, deadline)
	must(err)
	same(how+": result", result, "HELLO")
	var metadata longrunv1.OperationMetadata
	must(done.Metadata(&metadata))
	same(how+": metadata", metadata.Operation.State, longrunv1.Operation_STATE_SUCCEEDED)

	failed := begin("fail", "")
	_, err = wait(failed, deadline)
	var failure *apierror.APIError
	if !errors.As(err, &failure) || !failed.Done() {
		fail("%s: the error is %v", how, err)
	}
	same(how+": code", failure.GRPCStatus().Code(), codes.Unknown)
	same(how+": message", failure.GRPCStatus().Message(), "no")
	same(how+": reason", failure.Reason(), "EXIT_3")

	waiting := begin("nobody", "")
	_, err = wait(waiting, 300*time.Millisecond)
	if err == nil || waiting.Done() {
		fail("%s: no time-out but %v", how, err)
	}
	must(waiting.Cancel(ctx))
	_, err = wait(waiting, deadline)
	if !errors.As(err, &failure) {
		fail("%s: the error of a cancelled operation is %v", how, err)
	}
	same(how+": cancelled", failure.GRPCStatus().Code(), codes.Canceled)

	must(waiting.Delete(ctx))
	_, err = client.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: waiting.Name()})
	if !errors.As(err, &failure) {
		fail("%s: the error of a deleted operation is %v", how, err)
	}
	same(how+": deleted", failure.Reason(), "OPERATION_NOT_FOUND")
}

// pages lists the operations of a kind.
func pages(ctx context.Context, how string, client *autogen.OperationsClient, name string, sizes ...int) {
	listed := client.ListOperations(ctx, &longrunningpb.ListOperationsRequest{Name: name, Filter: "kind=go-many"})
	seen := map[string]bool{}
	for {
		operation, err := listed.Next()
		if err == iterator.Done {
			break
		}
		must(err)
		seen[operation.Name] = true
	}
	same(how+": listed", len(seen), 60)
	pager := iterator.NewPager(client.ListOperations(ctx,
		&longrunningpb.ListOperationsRequest{Name: name, Filter: "kind=go-many"}), 50, "")
	for _, size := range sizes {
		var page []*longrunningpb.Operation
		_, err := pager.NextPage(&page)
		must(err)
		same(how+": page", len(page), size)
	}
}

// waits calls WaitOperation, which no future calls.
func waits(ctx context.Context, client *autogen.OperationsClient) {
	done, err := client.WaitOperation(ctx,
		&longrunningpb.WaitOperationRequest{Name: submit("shout", "hello"), Timeout: durationpb.New(deadline)})
	must(err)
	same("WaitOperation", done.Done, true)
	still, err := client.WaitOperation(ctx,
		&longrunningpb.WaitOperationRequest{Name: submit("nobody", ""), Timeout: durationpb.New(time.Millisecond)})
	must(err)
	same("WaitOperation, time-out", still.Done, false)
}

// submit returns the name that Google's clients take.
func submit(kind, input string) string {
	url := fmt.Sprintf("%s/v1/kinds/%s/operations", os.Getenv("LONGRUN_URL"), kind)
	answer, err := http.Post(url, "text/plain", strings.NewReader(input))
	must(err)
	defer answer.Body.Close()
	var operation struct{ Tenant, Name string }
	must(json.NewDecoder(answer.Body).Decode(&operation))
	return fmt.Sprintf("tenants/%s/%s", operation.Tenant, operation.Name)
}

func same[T comparable](what string, got, expected T) {
	if got != expected {
		fail("%s: got %v, expected %v", what, got, expected)
	}
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}
