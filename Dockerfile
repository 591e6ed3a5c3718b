# syntax=docker/dockerfile:1
#
# s3ftpd as a container: one binary, no root, nothing written to its file system.
#
#   docker build --tag s3ftpd .
#
# Other base images are given by --build-arg; the runtime one needs glibc of the builder's release or newer, and no
# shell: nothing is run in it.

ARG BUILDER_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /build
ENV CARGO_TERM_COLOR=never

# The dependencies and the crates below the gateway: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN mkdir -p src benches \
    && echo 'fn main() {}' | tee src/main.rs benches/transfer.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin s3ftpd \
    && rm -r src

COPY src src
# The stubs above are newer than the sources; cargo goes by the time.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin s3ftpd

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="s3ftpd" \
      org.opencontainers.image.description="An FTP server whose disk is S3" \
      org.opencontainers.image.source="https://github.com/s3ftpd/s3ftpd" \
      org.opencontainers.image.licenses="Apache-2.0"
# The stores' certificates are checked against these.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder --chmod=755 /build/target/release/s3ftpd /usr/local/bin/s3ftpd

USER 65532:65532
WORKDIR /
EXPOSE 2121
ENTRYPOINT ["/usr/local/bin/s3ftpd"]
CMD ["serve", "--config", "/etc/s3ftpd/s3ftpd.toml"]
