package example;

import static java.util.concurrent.TimeUnit.SECONDS;

import io.grpc.ManagedChannel;
import java.util.List;
import java.util.Map;

/** How the client and the worker reach the server. */
final class Connection {
  static ManagedChannel open(String address) {
    // Each call may be repeated, so gRPC repeats it while no server is there; larger ones than 8 MiB are not.
    var policy = Map.of("maxAttempts", 1000.0, "initialBackoff", "0.5s", "maxBackoff", "5s", "backoffMultiplier", 2.0,
        "retryableStatusCodes", List.of("UNAVAILABLE", "RESOURCE_EXHAUSTED"));
    var methods = Map.of("name", List.of(Map.of()), "waitForReady", true, "retryPolicy", policy);
    return Credentials.channel(address)
        .defaultServiceConfig(Map.of("methodConfig", List.of(methods)))
        .maxRetryAttempts(1000).perRpcBufferLimit(8 << 20).keepAliveTime(30, SECONDS).build();
  }
}
