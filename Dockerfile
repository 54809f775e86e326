# docker build -t longrun .
FROM rust:1-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --profile dist --features cloud --bin longrun

FROM debian:bookworm-slim
# Certificates of public authorities, for PostgreSQL, object stores and relays over TLS.
# Whatever version the image of the day has: with a fixed one its repairs would be missed.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 7420 --no-create-home --shell /usr/sbin/nologin longrun \
    && install --directory --owner=longrun --group=longrun --mode=0700 /var/lib/longrun
COPY --from=build /source/target/dist/longrun /usr/bin/longrun
USER 7420
WORKDIR /var/lib/longrun
# The folder and not the file: the log of the store is beside it.
VOLUME /var/lib/longrun
# Other addresses than loopback ask callers for credentials: give it a source of them, such as LONGRUN_BOOTSTRAP_KEY_FILE.
ENV LONGRUN_LISTEN=0.0.0.0:7420 LONGRUN_STORE=sqlite:/var/lib/longrun/longrun.db
EXPOSE 7420
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["longrun", "doctor", "--only", "ready"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["longrun"]
CMD ["serve"]
