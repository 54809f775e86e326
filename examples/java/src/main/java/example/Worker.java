package example;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.protobuf.ByteString;
import io.grpc.Context;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.MalformedInputException;
import java.util.Collections;
import java.util.StringTokenizer;
import java.util.UUID;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import longrun.v1.*;
import longrun.v1.WorkersGrpc.WorkersBlockingStub;

/** A worker: counts the words of texts, slowly enough to be watched. */
public final class Worker {
  /** Waits for work happen in it: cancelled when the worker is to stop. */
  private static final Context.CancellableContext SERVING = Context.current().withCancellation();
  /** For each of four slots, its work and its renewals; and for the channel. */
  private static final ScheduledExecutorService THREADS = Executors.newScheduledThreadPool(13);

  /** The work. What it throws is the operation's error; to be stopped, its thread is interrupted. */
  private static String countWords(Payload input, Consumer<Progress> progress, Consumer<String> log) throws Exception {
    if (input.getOmitted()) throw new MalformedInputException(0);
    var text = UTF_8.newDecoder().decode(input.getData().asReadOnlyByteBuffer()).toString();
    var lines = text.lines().count();
    log.accept(lines + " lines to read");
    for (long line = 1; line <= lines; line++) {
      Thread.sleep(200);
      progress.accept(Progress.newBuilder().setDoneUnits(line).setTotalUnits(lines).build());
    }
    return "{\"words\": %d}".formatted(new StringTokenizer(text).countTokens());
  }

  /** Does the work, keeps its lease meanwhile, and reports. Throws what the server refuses. */
  private static void perform(WorkersBlockingStub workers, AcquiredAttempt attempt) throws InterruptedException {
    var token = attempt.getToken();
    var progress = new AtomicReference<>(Progress.getDefaultInstance());
    Consumer<String> log = line -> workers.addLog(AddLogRequest.newBuilder().setToken(token).addLines(line).build());
    var work = THREADS.submit(() -> countWords(attempt.getInput(), progress::set, log));
    var renewing = THREADS.scheduleWithFixedDelay(() -> {
      var renewal = RenewRequest.newBuilder().setToken(token).setProgress(progress.get());
      if (SERVING.isCancelled() | workers.renew(renewal.build()).hasCancel()) work.cancel(true);
    }, 1, 1, SECONDS);
    try {
      var result = Payload.newBuilder().setContentType("application/json").setData(ByteString.copyFromUtf8(work.get()));
      workers.complete(CompleteRequest.newBuilder().setToken(token).setResult(result).build());
    } catch (CancellationException stopped) {
      workers.release(ReleaseRequest.newBuilder().setToken(token).build());
    } catch (ExecutionException failed) {
      var why = failed.getCause();
      var error = longrun.v1.Error.newBuilder().setCode(why.getClass().getSimpleName()).setMessage(String.valueOf(why.getMessage()));
      workers.fail(FailRequest.newBuilder().setToken(token).setError(error).setFinal(why instanceof CharacterCodingException).build());
    } finally {
      renewing.cancel(false);
    }
  }

  /** Does one attempt after the other. A response that was lost is asked for again by the name of the request. */
  private static Void serve(WorkersBlockingStub workers) throws Exception {
    var wanted = AcquireRequest.newBuilder().setWorkerId("Worker.java").addKinds("count-words").setRequestId(UUID.randomUUID().toString());
    while (!SERVING.isCancelled()) {
      try {
        for (var attempt : SERVING.call(() -> workers.acquire(wanted.build())).getAttemptsList()) perform(workers, attempt);
      } catch (Exception refused) {
        if (SERVING.isCancelled()) break;
        System.err.println(refused);
        Thread.sleep(1000);
      }
    }
    return null;
  }

  public static void main(String[] arguments) throws Exception {
    var channel = Connection.open(arguments[0]);
    var workers = WorkersGrpc.newBlockingStub(channel);
    // To be back well within a lease; gRPC by itself pauses for up to two minutes.
    THREADS.scheduleWithFixedDelay(channel::resetConnectBackoff, 5, 5, SECONDS);
    var main = Thread.currentThread();
    Runtime.getRuntime().addShutdownHook(new Thread(new FutureTask<>(() -> { SERVING.cancel(null); main.join(); return null; })));
    THREADS.invokeAll(Collections.nCopies(4, () -> serve(workers)));
  }
}
