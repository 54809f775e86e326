package example;

import static io.grpc.Status.Code.*;
import static java.lang.Runtime.getRuntime;
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.UUID.randomUUID;
import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.protobuf.ByteString;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.MalformedInputException;
import java.util.Collections;
import java.util.StringTokenizer;
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
  private static Payload countWords(Payload input, Consumer<Progress> progress, Consumer<String> log) throws Exception {
    if (input.getOmitted()) throw new MalformedInputException(0);
    var text = UTF_8.newDecoder().decode(input.getData().asReadOnlyByteBuffer()).toString();
    var lines = text.lines().count();
    log.accept(lines + " lines to read");
    for (long line = 1; line <= lines; line++) {
      Thread.sleep(200);
      progress.accept(Progress.newBuilder().setDoneUnits(line).setTotalUnits(lines).build());
    }
    var words = "{\"words\": %d}".formatted(new StringTokenizer(text).countTokens());
    return Payload.newBuilder().setContentType("application/json").setData(ByteString.copyFromUtf8(words)).build();
  }

  /** Does the work, keeps its lease meanwhile, and reports; also a refused result. Throws if the attempt is over. */
  private static void perform(WorkersBlockingStub workers, AcquiredAttempt attempt) throws Exception {
    var token = attempt.getToken();
    var progress = new AtomicReference<>(Progress.getDefaultInstance());
    Consumer<String> log = line -> workers.addLog(AddLogRequest.newBuilder().setToken(token).addLines(line).build());
    var work = THREADS.submit(() -> countWords(attempt.getInput(), progress::set, log));
    var renewing = THREADS.scheduleWithFixedDelay(() -> {
      var renewal = RenewRequest.newBuilder().setToken(token).setProgress(progress.get());
      if (SERVING.isCancelled() | workers.renew(renewal.build()).hasCancel()) work.cancel(true);
    }, 1, 1, SECONDS);
    try {
      workers.complete(CompleteRequest.newBuilder().setToken(token).setResult(work.get()).build());
    } catch (CancellationException stopped) {
      workers.release(ReleaseRequest.newBuilder().setToken(token).build());
    } catch (ExecutionException | StatusRuntimeException failed) { // the work; or the server refuses its result
      var refusal = Status.fromThrowable(failed).getCode();
      var why = failed instanceof ExecutionException ? failed.getCause() : failed;
      if (why == failed && (refusal == FAILED_PRECONDITION || refusal == NOT_FOUND)) throw failed;
      var isFinal = why instanceof CharacterCodingException || refusal == INVALID_ARGUMENT;
      var error = longrun.v1.Error.newBuilder().setCode("%.128s".formatted(why.getClass().getName()));
      error.setMessage("%.10000s".formatted(why.getMessage())); // the server takes 64 KiB
      workers.fail(FailRequest.newBuilder().setToken(token).setError(error).setFinal(isFinal).build());
    } finally {
      renewing.cancel(false);
    }
  }

  /** Does one attempt after the other. A response that was lost is asked for again by the name of the request. */
  private static Void serve(WorkersBlockingStub workers) throws Exception {
    var wanted = AcquireRequest.newBuilder().setWorkerId("java").addKinds("count-words").setRequestId("" + randomUUID());
    while (!SERVING.isCancelled()) {
      try {
        var acquired = SERVING.call(() -> workers.acquire(wanted.build()));
        wanted.setRequestId("" + randomUUID()); // or an attempt that cannot be reported would come again
        for (var attempt : acquired.getAttemptsList()) perform(workers, attempt);
      } catch (Exception refused) {
        if (!SERVING.isCancelled()) System.err.println(refused);
        Thread.sleep(1000);
      }
    }
    return null;
  }

  public static void main(String[] arguments) throws Exception {
    var channel = Connection.open(arguments[0]);
    // To be back well within a lease; gRPC by itself pauses for up to two minutes.
    THREADS.scheduleWithFixedDelay(channel::resetConnectBackoff, 5, 5, SECONDS);
    var main = Thread.currentThread();
    getRuntime().addShutdownHook(new Thread(new FutureTask<>(() -> { SERVING.cancel(null); main.join(); return 0; })));
    THREADS.invokeAll(Collections.nCopies(4, () -> serve(WorkersGrpc.newBlockingStub(channel))));
  }
}
