package example;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Metadata.Key;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;

/** Channels to host:port, http://host:port or https://host:port. LONGRUN_TOKEN, if set, is the bearer token. */
final class Credentials {
  static ManagedChannelBuilder<?> channel(String address) {
    var isTls = address.startsWith("https://");
    var security = isTls ? TlsChannelCredentials.create() : InsecureChannelCredentials.create();
    var headers = new Metadata();
    var token = System.getenv("LONGRUN_TOKEN");
    if (token != null) headers.put(Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    return Grpc.newChannelBuilder(address.replaceFirst("^https?://", ""), security)
        .intercept(MetadataUtils.newAttachHeadersInterceptor(headers));
  }
}
