# onnxd with ONNX Runtime and the example models: no shell, no root, no writable files.
#
#   docker build -t onnxd .                                 the image (or: buildah bud --format docker)
#   docker build -t onnxd --build-arg ONNXRUNTIME=own .     with your own ONNX Runtime library in ./onnxruntime/
#
# The base images are arguments: replace them by a mirror, a pinned digest or a CUDA base.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG PYTHON_IMAGE=python:3.13-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot
ARG ONNXRUNTIME=fetched

# ---- ONNX Runtime: the version and checksum that the script pins for this platform; with ONNXRUNTIME=own, your own build:
# libonnxruntime.so and its providers
FROM ${PYTHON_IMAGE} AS onnxruntime
ARG ONNXRUNTIME
WORKDIR /source
# Without the folder, the pattern matches nothing.
COPY .cargo/fetch-onnxruntime.py onnxruntime* given/
RUN case "$ONNXRUNTIME" in \
    fetched) python3 given/fetch-onnxruntime.py --output /onnxruntime ;; \
    own) ls given/libonnxruntime.so && rm given/fetch-onnxruntime.py && mv given /onnxruntime ;; \
    *) echo "ONNXRUNTIME must be fetched or own, not $ONNXRUNTIME" >&2 && exit 1 ;; \
    esac

# ---- the locale that StringNormalizer nodes need and small images lack
FROM ${PYTHON_IMAGE} AS locale
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends locales \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /locale \
    && localedef --no-archive -i en_US -f UTF-8 /locale/en_US.utf8

# ---- the dependencies, which change with Cargo.lock alone, and then onnxd
FROM ${RUST_IMAGE} AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && echo 'fn main() {}' > src/main.rs \
    && cp src/main.rs build.rs \
    && touch src/lib.rs benches/codec.rs \
    && cargo build --release --locked
COPY build.rs ./
COPY proto proto
COPY src src
# The stand-ins above are newer than the checked-out files.
RUN touch build.rs src/main.rs src/lib.rs && cargo build --release --locked

# ---- the image
FROM ${BASE_IMAGE}
COPY --from=locale /locale/ /usr/lib/locale/
COPY --from=onnxruntime /onnxruntime/ /usr/local/lib/onnxruntime/
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/onnxd/
COPY models/ /models/
COPY --from=build /source/target/release/onnxd /usr/local/bin/onnxd
ENV MODEL_PATH=/models \
    ORT_DYLIB_PATH=/usr/local/lib/onnxruntime/libonnxruntime.so
USER 65532:65532
# HTTP, gRPC
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/onnxd", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/onnxd"]
CMD ["serve"]

# Last, since they change with every commit.
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="onnxd" \
    org.opencontainers.image.description="Serves ONNX models over HTTP: curl a row of features, get a prediction" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.base.name="${BASE_IMAGE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
