package example

import (
	"context"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Dial is grpc.NewClient for host:port, http://host:port or https://host:port.
// LONGRUN_TOKEN, if set, is the bearer token.
func Dial(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	target, security := strings.TrimPrefix(address, "http://"), insecure.NewCredentials()
	if host, found := strings.CutPrefix(address, "https://"); found {
		target, security = host, credentials.NewTLS(nil)
	}
	if token := os.Getenv("LONGRUN_TOKEN"); token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	return grpc.NewClient(target, append(options, grpc.WithTransportCredentials(security))...)
}

// bearer is a token that each call carries, also outside TLS.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }
