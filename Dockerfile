# One static program in an empty file system, not run by root: what `make image` builds without Docker.
FROM rust:1.95-bookworm AS build
WORKDIR /hera
COPY . .
ARG HERA_COMMIT=unknown
# With --target, the flags are for the program alone, not for what runs during the build.
RUN host=$(rustc --version --verbose | sed -n 's/^host: //p') \
    && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin hera --target "$host" \
    && install -D -m 755 "target/$host/release/hera" /image/hera

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/hera"]
