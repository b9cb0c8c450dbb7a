# syntax=docker/dockerfile:1
# The agent as an image: one static program, the authorities' certificates, and nothing else.
#   docker build -t trigon:0.1.0 .

FROM rust:1.95.0-slim-bookworm AS build
# clang compiles the eBPF programs; libbpf-dev has the headers that they include. Debian keeps no old versions to ask for.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates clang gcc libbpf-dev libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The toolchain of this image, without the lints that rust-toolchain.toml asks for.
ENV RUSTUP_TOOLCHAIN=1.95.0
# .cargo/config.toml links statically, for a target of its own, in whose folder the program is. The folder stays in the
# builder's cache: what the next stage needs is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package trigon \
    && install -D -m 755 --strip target/*-linux-gnu/release/trigon /out/trigon

# It runs as root, for tracefs and other users' processes are root's; the chart takes all but three capabilities from it.
FROM scratch
LABEL org.opencontainers.image.title="Trigon" \
      org.opencontainers.image.description="What processes do, as OpenTelemetry logs, spans and Prometheus metrics" \
      org.opencontainers.image.licenses="Apache-2.0"
# What `otlp.tls.ca_file = ""` means: the authorities of the system.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /usr/share/doc/trigon/LICENSE
COPY probes/bpf/LICENSE /usr/share/doc/trigon/LICENSE.bpf
COPY --from=build /out/trigon /usr/local/bin/trigon
ENV PATH=/usr/local/bin
ENTRYPOINT ["trigon"]
CMD ["run", "--output", "json"]
