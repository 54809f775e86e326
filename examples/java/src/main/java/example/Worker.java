package example;

import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.protobuf.ByteString;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.function.Consumer;
import longrun.v1.*;

/** A worker: counts the words of texts, slowly enough to be watched. */
public final class Worker {
  private final WorkersGrpc.WorkersBlockingStub workers;
  private final OperationsGrpc.OperationsBlockingStub operations;
  private final ScheduledExecutorService timer = Executors.newScheduledThreadPool(4);
  /** Waits for work happen in it: cancelled when the worker is to stop. */
  private final Context.CancellableContext serving = Context.current().withCancellation();

  private Worker(String address) {
    var channel = Connection.open(address);
    workers = WorkersGrpc.newBlockingStub(channel);
    operations = OperationsGrpc.newBlockingStub(channel);
    // To be back well within a lease; gRPC by itself pauses for up to two minutes.
    timer.scheduleWithFixedDelay(channel::resetConnectBackoff, 5, 5, SECONDS);
  }

  /** The work. What it throws is the operation's error; to be stopped, its thread is interrupted. */
  private static String countWords(ByteString input, Consumer<Progress> progress, Consumer<String> log) throws Exception {
    var text = StandardCharsets.UTF_8.newDecoder().decode(input.asReadOnlyByteBuffer()).toString();
    var lines = text.lines().count();
    log.accept(lines + " lines to read");
    for (long line = 1; line <= lines; line++) {
      Thread.sleep(200);
      progress.accept(Progress.newBuilder().setDoneUnits(line).setTotalUnits(lines).build());
    }
    return "{\"words\": %d}".formatted(text.isBlank() ? 0 : text.strip().split("\\s+").length);
  }

  /** The contents of an input, which do not come along if they are large. */
  private ByteString read(AcquiredAttempt attempt) {
    var contents = attempt.getInput().getData();
    if (attempt.getInput().getOmitted()) {
      var request = ReadInputRequest.newBuilder().setName(attempt.getOperation().getName());
      var chunks = operations.readInput(request.setAttemptToken(attempt.getToken()).build());
      while (chunks.hasNext()) contents = contents.concat(chunks.next().getData());
    }
    return contents;
  }

  /** Does the work, keeps its lease meanwhile, and reports. Throws what the server refuses a report with. */
  private void perform(AcquiredAttempt attempt) throws InterruptedException {
    var token = attempt.getToken();
    var renewal = RenewRequest.newBuilder().setToken(token);
    var work = Executors.newSingleThreadExecutor();
    Consumer<String> log = line -> workers.addLog(AddLogRequest.newBuilder().setToken(token).addLines(line).build());
    var words = work.submit(() -> countWords(read(attempt), renewal::setProgress, log));
    var renewing = timer.scheduleWithFixedDelay(() -> {
      // Looked at before, so that the server has heard of it when the attempt is released, and gives it to no other slot.
      var stop = serving.isCancelled();
      try {
        stop |= workers.renew(renewal.build()).hasCancel();
      } catch (StatusRuntimeException over) {
        stop = true;
      }
      if (stop) work.shutdownNow();
    }, 0, 1, SECONDS);
    try {
      var result = Payload.newBuilder().setContentType("application/json").setData(ByteString.copyFromUtf8(words.get()));
      workers.complete(CompleteRequest.newBuilder().setToken(token).setResult(result).build());
    } catch (ExecutionException | StatusRuntimeException failed) {
      if (work.isShutdown()) {
        workers.release(ReleaseRequest.newBuilder().setToken(token).build());
      } else {
        var why = failed instanceof ExecutionException ? failed.getCause() : failed;
        var last = why instanceof CharacterCodingException;
        var error = longrun.v1.Error.newBuilder().setCode(why.getClass().getSimpleName()).setMessage(String.valueOf(why.getMessage()));
        workers.fail(FailRequest.newBuilder().setToken(token).setError(error).setFinal(last).build());
      }
    } finally {
      renewing.cancel(false);
      work.shutdown();
    }
  }

  /** Does one attempt after the other. */
  private Void serve() throws Exception {
    var wanted = AcquireRequest.newBuilder().setWorkerId("Worker.java").addKinds("count-words").build();
    while (!serving.isCancelled()) {
      try {
        for (var attempt : serving.call(() -> workers.acquire(wanted)).getAttemptsList()) perform(attempt);
      } catch (StatusRuntimeException refused) {
        if (serving.isCancelled()) break;
        System.err.println(refused.getMessage());
        Thread.sleep(1000);
      }
    }
    return null;
  }

  public static void main(String[] arguments) throws Exception {
    var worker = new Worker(arguments[0]);
    var main = Thread.currentThread();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      worker.serving.cancel(null);
      try {
        main.join();
      } catch (InterruptedException now) {
        // Nothing more to wait for.
      }
    }));
    for (var slot : Executors.newFixedThreadPool(4).invokeAll(Collections.nCopies(4, worker::serve))) slot.get();
  }
}
