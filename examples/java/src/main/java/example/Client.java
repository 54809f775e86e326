package example;

import com.google.protobuf.ByteString;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.Set;
import java.util.function.Consumer;
import longrun.v1.*;
import longrun.v1.OperationsGrpc.OperationsBlockingStub;

/** A client: submits a text, watches what becomes of it, cancels it, fetches the result. */
public final class Client {
  /** Whether the server, a proxy or the network has cut a stream: not its own context. */
  static boolean isCut(StatusRuntimeException error) {
    var codes = Set.of(Status.Code.UNAVAILABLE, Status.Code.INTERNAL, Status.Code.UNKNOWN, Status.Code.CANCELLED);
    return codes.contains(error.getStatus().getCode()) && !Context.current().isCancelled();
  }

  /** Submits under a key of the caller's own: however often it is called, there is one operation. */
  static String submit(OperationsBlockingStub operations, String key, String text) {
    var request = SubmitRequest.newBuilder().setKind("count-words").setIdempotencyKey(key);
    return operations.submit(request.setInput(Payload.newBuilder().setText(text)).build()).getName();
  }

  /** Hands on each transition once and in order, to the last one, whatever becomes of connections and servers. */
  static void watch(OperationsBlockingStub operations, String name, Consumer<Event> seen) throws InterruptedException {
    var request = WatchOperationRequest.newBuilder().setName(name).setAfterRevision(0);
    for (var done = false; !done; Thread.sleep(done ? 0 : 1000)) {
      try {
        for (var messages = operations.watchOperation(request.build()); messages.hasNext(); ) {
          var message = messages.next();
          request.setAfterRevision(message.getRevision());
          if (message.hasEvent()) seen.accept(message.getEvent());
          done = message.getOperation().getDone();
        }
      } catch (StatusRuntimeException error) {
        if (!isCut(error)) throw error;
      }
    }
  }

  /** Asks for the operation to be stopped. A watch tells when it has. */
  static void cancel(OperationsBlockingStub operations, String name) {
    var request = CancelOperationRequest.newBuilder().setName(name).setReason("the client wants no more of it");
    operations.cancelOperation(request.build());
  }

  /** The bytes of the result. What broke off goes on where it was. */
  static ByteString result(OperationsBlockingStub operations, String name) throws InterruptedException {
    for (var data = ByteString.EMPTY; ; Thread.sleep(1000)) {
      try {
        var request = ReadResultRequest.newBuilder().setName(name).setOffsetBytes(data.size());
        var chunks = operations.readResult(request.build());
        while (chunks.hasNext()) data = data.concat(chunks.next().getData());
        return data;
      } catch (StatusRuntimeException error) {
        if (!isCut(error)) throw error;
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    var channel = Connection.open(arguments[0]);
    var operations = OperationsGrpc.newBlockingStub(channel);
    var first = arguments[2];
    try {
      switch (arguments[1]) {
        case "submit" -> System.out.println(submit(operations, first, arguments[3]));
        case "watch" -> watch(operations, first, event ->
            System.out.println(event.getRevision() + " " + event.getState().name().substring("STATE_".length())));
        case "cancel" -> cancel(operations, first);
        case "result" -> result(operations, first).writeTo(System.out);
        default -> throw new IllegalArgumentException(arguments[1]);
      }
      System.out.flush();
    } catch (StatusRuntimeException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    } finally {
      channel.shutdown();
    }
  }
}
