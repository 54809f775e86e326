"""gRPC for Python over TLS: health with a certificate, and a refusal without one. Messages are written by hand, so that
nothing has to be generated."""

import sys

import grpc

address = sys.argv[1]


def contents(name):
    with open(name, "rb") as file:
        return file.read()


def health(credentials):
    token = grpc.access_token_call_credentials("token")
    with grpc.secure_channel(address, grpc.composite_channel_credentials(credentials, token)) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        return check(b"", timeout=30)


with_certificate = grpc.ssl_channel_credentials(contents("ca.pem"), contents("client.key"), contents("client.pem"))
# HealthCheckResponse { status: SERVING }
assert health(with_certificate) == b"\x08\x01"

try:
    health(grpc.ssl_channel_credentials(contents("ca.pem")))
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNAVAILABLE, error
else:
    sys.exit("a client without a certificate got in")
