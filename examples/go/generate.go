// Package example has a worker and a client in Go. `go generate` makes longrunv1 of the protos, with protoc.
package example

//go:generate go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
//go:generate protoc -I ../../proto --plugin=bin/protoc-gen-go --plugin=bin/protoc-gen-go-grpc --go_out=. --go_opt=module=longrun.example,Mlongrun/v1/operations.proto=longrun.example/longrunv1,Mlongrun/v1/workers.proto=longrun.example/longrunv1 --go-grpc_out=. --go-grpc_opt=module=longrun.example,Mlongrun/v1/operations.proto=longrun.example/longrunv1,Mlongrun/v1/workers.proto=longrun.example/longrunv1 longrun/v1/operations.proto longrun/v1/workers.proto
