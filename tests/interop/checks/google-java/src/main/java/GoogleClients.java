import com.google.api.HttpBody;
import com.google.api.gax.core.GaxProperties;
import com.google.api.gax.core.NoCredentialsProvider;
import com.google.api.gax.grpc.GaxGrpcProperties;
import com.google.api.gax.grpc.GrpcCallSettings;
import com.google.api.gax.grpc.GrpcCallableFactory;
import com.google.api.gax.grpc.GrpcTransportChannel;
import com.google.api.gax.grpc.ProtoOperationTransformers;
import com.google.api.gax.longrunning.OperationFuture;
import com.google.api.gax.longrunning.OperationSnapshot;
import com.google.api.gax.longrunning.OperationTimedPollAlgorithm;
import com.google.api.gax.retrying.RetrySettings;
import com.google.api.gax.rpc.ApiException;
import com.google.api.gax.rpc.ClientContext;
import com.google.api.gax.rpc.FixedTransportChannelProvider;
import com.google.api.gax.rpc.NotFoundException;
import com.google.api.gax.rpc.OperationCallSettings;
import com.google.api.gax.rpc.OperationCallable;
import com.google.api.gax.rpc.StatusCode;
import com.google.api.gax.rpc.UnaryCallSettings;
import com.google.longrunning.GetOperationRequest;
import com.google.longrunning.OperationsClient;
import com.google.longrunning.OperationsGrpc;
import com.google.longrunning.OperationsSettings;
import com.google.longrunning.WaitOperationRequest;
import com.google.protobuf.Duration;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import longrun.v1.Operation.State;
import longrun.v1.OperationMetadata;

/** gax's operation futures, unmodified: how they end. */
public final class GoogleClients {
  private static final long DEADLINE_SECONDS = 30;

  private final OperationsClient client;
  private final ClientContext context;

  private GoogleClients(OperationsSettings settings) throws Exception {
    client = OperationsClient.create(settings);
    context = ClientContext.create(settings);
  }

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(System.getenv("LONGRUN_ADDRESS")).usePlaintext().build();
    OperationsSettings settings =
        OperationsSettings.newBuilder()
            .setTransportChannelProvider(
                FixedTransportChannelProvider.create(GrpcTransportChannel.create(channel)))
            .setCredentialsProvider(NoCredentialsProvider.create())
            .build();
    GoogleClients clients = new GoogleClients(settings);
    clients.results();
    clients.ends();
    clients.pages();
    clients.waits();
    System.out.println("client: gax " + GaxProperties.getGaxVersion());
    System.out.println("client: grpc-java " + GaxGrpcProperties.getGrpcVersion());
    System.out.println("case: OperationFuture: result, exception, metadata, time-out, cancel, the end of its own polling");
    System.out.println("case: OperationsClient: delete, pages, WaitOperation");
    channel.shutdownNow();
    System.exit(0);
  }

  /** A future of an operation that is there, as generated clients make it of what a method returns. */
  private OperationFuture<HttpBody, OperationMetadata> future(String name, long pollingMillis) {
    RetrySettings polling =
        RetrySettings.newBuilder()
            .setInitialRetryDelayDuration(java.time.Duration.ofMillis(50))
            .setRetryDelayMultiplier(1.5)
            .setMaxRetryDelayDuration(java.time.Duration.ofSeconds(1))
            .setTotalTimeoutDuration(java.time.Duration.ofMillis(pollingMillis))
            .build();
    UnaryCallSettings<GetOperationRequest, OperationSnapshot> initial =
        UnaryCallSettings.<GetOperationRequest, OperationSnapshot>newUnaryCallSettingsBuilder()
            .setSimpleTimeoutNoRetriesDuration(java.time.Duration.ofSeconds(DEADLINE_SECONDS))
            .build();
    OperationCallSettings<GetOperationRequest, HttpBody, OperationMetadata> settings =
        OperationCallSettings.<GetOperationRequest, HttpBody, OperationMetadata>newBuilder()
            .setInitialCallSettings(initial)
            .setResponseTransformer(ProtoOperationTransformers.ResponseTransformer.create(HttpBody.class))
            .setMetadataTransformer(
                ProtoOperationTransformers.MetadataTransformer.create(OperationMetadata.class))
            .setPollingAlgorithm(OperationTimedPollAlgorithm.create(polling))
            .build();
    OperationCallable<GetOperationRequest, HttpBody, OperationMetadata> callable =
        GrpcCallableFactory.createOperationCallable(
            GrpcCallSettings.create(OperationsGrpc.getGetOperationMethod()), settings, context, client.getStub());
    return callable.futureCall(GetOperationRequest.newBuilder().setName(name).build());
  }

  private OperationFuture<HttpBody, OperationMetadata> future(String name) {
    return future(name, TimeUnit.SECONDS.toMillis(DEADLINE_SECONDS));
  }

  private void results() throws Exception {
    OperationFuture<HttpBody, OperationMetadata> done = future(submit("shout", "hello"));
    same("result", done.get(DEADLINE_SECONDS, TimeUnit.SECONDS).getData().toStringUtf8(), "HELLO");
    same("metadata", done.getMetadata().get().getOperation().getState(), State.STATE_SUCCEEDED);

    ApiException failed = failure(future(submit("fail", "")));
    same("code", failed.getStatusCode().getCode(), StatusCode.Code.UNKNOWN);
    if (!failed.getMessage().contains("no")) {
      throw new AssertionError("message: " + failed.getMessage());
    }
  }

  private void ends() throws Exception {
    OperationFuture<HttpBody, OperationMetadata> waiting = future(submit("nobody", ""));
    same("metadata", waiting.getMetadata().get().getOperation().getState(), State.STATE_QUEUED);
    try {
      waiting.get(300, TimeUnit.MILLISECONDS);
      throw new AssertionError("no time-out");
    } catch (TimeoutException expected) {
      same("done", waiting.isDone(), false);
    }
    client.cancelOperation(waiting.getName());
    same("cancelled", failure(waiting).getStatusCode().getCode(), StatusCode.Code.CANCELLED);

    client.deleteOperation(waiting.getName());
    try {
      client.getOperation(waiting.getName());
      throw new AssertionError("it is still there");
    } catch (NotFoundException expected) {
      same("reason", expected.getReason(), "OPERATION_NOT_FOUND");
    }

    // A future that has polled for long enough ends by itself, and the operation goes on.
    OperationFuture<HttpBody, OperationMetadata> impatient = future(submit("nobody", ""), 300);
    try {
      impatient.get(DEADLINE_SECONDS, TimeUnit.SECONDS);
      throw new AssertionError("it polls on");
    } catch (CancellationException expected) {
      same("done", client.getOperation(impatient.getName()).getDone(), false);
    }
  }

  private void pages() throws Exception {
    for (int count = 0; count < 60; count++) {
      submit("java-many", "");
    }
    List<Integer> sizes = new ArrayList<>();
    for (OperationsClient.ListOperationsPage page :
        client.listOperations("tenants/default", "kind=java-many").iteratePages()) {
      sizes.add(page.getPageElementCount());
    }
    same("pages", sizes, List.of(50, 10));
  }

  private void waits() throws Exception {
    WaitOperationRequest.Builder request = WaitOperationRequest.newBuilder();
    request.setTimeout(Duration.newBuilder().setSeconds(DEADLINE_SECONDS));
    same("wait", client.waitOperation(request.setName(submit("shout", "hello")).build()).getDone(), true);
    request.setTimeout(Duration.newBuilder().setNanos(1_000_000));
    same("wait in vain", client.waitOperation(request.setName(submit("nobody", "")).build()).getDone(), false);
  }

  private static ApiException failure(OperationFuture<?, ?> future) throws Exception {
    try {
      throw new AssertionError("a result: " + future.get(DEADLINE_SECONDS, TimeUnit.SECONDS));
    } catch (ExecutionException failed) {
      return (ApiException) failed.getCause();
    }
  }

  /** Returns the name that Google's clients take. */
  private static String submit(String kind, String input) throws Exception {
    URI uri = URI.create(System.getenv("LONGRUN_URL") + "/v1/kinds/" + kind + "/operations");
    HttpRequest request =
        HttpRequest.newBuilder(uri)
            .header("Content-Type", "text/plain")
            .POST(HttpRequest.BodyPublishers.ofString(input))
            .build();
    String answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString()).body();
    Matcher name = Pattern.compile("\"name\"\\s*:\\s*\"(operations/[^\"]+)\"").matcher(answer);
    if (!name.find()) {
      throw new AssertionError(answer);
    }
    return "tenants/default/" + name.group(1);
  }

  private static final HttpClient HTTP =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  private static void same(String what, Object got, Object expected) {
    if (!got.equals(expected)) {
      throw new AssertionError(what + ": got " + got + ", expected " + expected);
    }
  }
}
