# syntax=docker/dockerfile:1
#
# s3ftpd as a container: one binary that runs without root and writes no file.
#
#   docker build --tag s3ftpd .
#
# --build-arg selects other base images. The runtime image needs the builder's release of glibc or a
# newer one. It needs no shell, since the build runs nothing in it.

ARG BUILDER_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /build
ENV CARGO_TERM_COLOR=never

# The dependencies and the crates of the workspace. This layer is built again only if they change.
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY test-support/Cargo.toml test-support/
RUN mkdir -p src benches test-support/src \
    && echo 'fn main() {}' | tee src/main.rs benches/transfer.rs \
    && touch src/lib.rs test-support/src/lib.rs \
    && cargo build --release --locked --package s3ftpd \
    && rm -r src

COPY src src
# The stubs above are newer than the sources, and cargo compares the times.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package s3ftpd

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="s3ftpd" \
      org.opencontainers.image.description="An FTP server whose disk is S3" \
      org.opencontainers.image.source="https://github.com/s3ftpd/s3ftpd" \
      org.opencontainers.image.licenses="Apache-2.0"
# s3ftpd verifies the certificates of stores with these.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder --chmod=755 /build/target/release/s3ftpd /usr/local/bin/s3ftpd

USER 65532:65532
WORKDIR /
EXPOSE 2121
ENTRYPOINT ["/usr/local/bin/s3ftpd"]
CMD ["serve", "--config", "/etc/s3ftpd/s3ftpd.toml"]
