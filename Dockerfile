# The images of alphadrop, from the smallest: watch, cpu, cuda. docs/container.md explains them.
#
#     docker build --target cpu --build-arg TORCH_INDEX=... --tag alphadrop:cpu .

# Any Debian or Ubuntu whose python3 is 3.11 and has its venv module. A tag changes with updates; for reproducible builds, name a
# digest: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm
# Index of torch's CPU builds, see docs/container.md; PyPI's builds include CUDA. Empty: pip's own index.
ARG TORCH_INDEX=

# Your own settings and wheels for pip: --build-context pip=FOLDER, with a pip.conf in it. The images do not contain them.
FROM scratch AS pip

FROM ${BASE} AS base
# Debian keeps only the newest build of a package, so a pin would break at the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tini \
    && rm -rf /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* /var/lib/apt/lists/* /var/log/*

# Packages are a layer below alphadrop, because they are large and rarely change. Bytecode is compiled here, because it cannot be
# written at run time, and with hashes, so that it is reproducible.
FROM base AS watch-packages
ENV PATH=/opt/pip/bin:$PATH \
    PIP_COMPILE=0 \
    PIP_CONFIG_FILE=/run/pip/pip.conf \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_PYTHON=/opt/alphadrop/bin/python3 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/alphadrop
COPY pyproject.toml constraints.txt constraints-image.txt ./
RUN python3 -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extras = project["optional-dependencies"]; \
        parts = {"watch": project["dependencies"] + extras["otel"], "engine": extras["engine"], "onnx": extras["onnx"]}; \
        parts["onnx-gpu"] = [name.replace("onnxruntime", "onnxruntime-gpu") for name in extras["onnx"]]; \
        [open(f"{part}.txt", "w").write("\n".join(names)) for part, names in parts.items()]'
RUN --mount=type=bind,from=pip,target=/run/pip \
    pip install --constraint constraints-image.txt --requirement watch.txt \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/alphadrop/lib

# The two differ only in their builds of torch and onnxruntime, which must be for the same CUDA. Torch's wheels contain torch's own tests, and a file for newer versions of Python.
FROM watch-packages AS cuda-packages
RUN --mount=type=bind,from=pip,target=/run/pip \
    pip install --constraint constraints-image.txt --no-deps "$(sed -n 's/^torch==/torch===/p' constraints.txt)"
RUN --mount=type=bind,from=pip,target=/run/pip \
    pip install --constraint constraints-image.txt --requirement engine.txt --requirement onnx-gpu.txt \
    && find /opt/alphadrop/lib \( -path '*/torch/test' -o -path '*/torch/bin/test_*' \) -prune -exec rm -r {} + \
    && python3 -m compileall -q -x py312_ --invalidation-mode unchecked-hash /opt/alphadrop/lib

FROM watch-packages AS cpu-packages
ARG TORCH_INDEX
RUN --mount=type=bind,from=pip,target=/run/pip \
    pip install --constraint constraints-image.txt --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
        "$(grep ^torch== constraints.txt)+cpu" \
    || { echo 'Name the index of torch for the CPU: --build-arg TORCH_INDEX=..., see docs/container.md' >&2; exit 1; }
RUN --mount=type=bind,from=pip,target=/run/pip \
    pip install --constraint constraints-image.txt --requirement engine.txt --requirement onnx.txt \
    && find /opt/alphadrop/lib \( -path '*/torch/test' -o -path '*/torch/bin/test_*' \) -prune -exec rm -r {} + \
    && python3 -m compileall -q -x py312_ --invalidation-mode unchecked-hash /opt/alphadrop/lib

FROM watch-packages AS app
COPY README.md LICENSE hatch_build.py ./
COPY inference inference
COPY watcher watcher
RUN --mount=type=bind,from=pip,target=/run/pip \
    pip install --constraint constraints-image.txt hatchling ziglang \
    && pip install --constraint constraints-image.txt --no-build-isolation --no-deps --prefix /app . \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /app/lib

FROM base AS runtime
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="alphadrop" \
    org.opencontainers.image.description="Drop product photos into a folder, get cut-outs with an alpha channel" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.base.name="$BASE"
# Queues are below XDG_STATE_HOME/alphadrop, fetched models in U2NET_HOME. Everything that is written is there, in /tmp or in /var/cache/alphadrop.
ENV PATH=/opt/alphadrop/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    XDG_STATE_HOME=/var/lib \
    U2NET_HOME=/var/lib/alphadrop/models \
    XDG_CACHE_HOME=/var/cache/alphadrop \
    CUDA_CACHE_PATH=/var/cache/alphadrop/cuda \
    TORCHINDUCTOR_CACHE_DIR=/var/cache/alphadrop/inductor \
    TRITON_CACHE_DIR=/var/cache/alphadrop/triton \
    ALPHADROP_HTTP=0.0.0.0:9464
RUN install --directory --owner 10001 --group 10001 --mode 1777 /var/lib/alphadrop /var/cache/alphadrop
# An alphadrop.toml that is mounted here is read.
WORKDIR /etc/alphadrop
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python3", "-c", "import http.client, os, sys; \
port = int(os.environ['ALPHADROP_HTTP'].rpartition(':')[2]); \
page = http.client.HTTPConnection('127.0.0.1', port, timeout=4); \
page.request('GET', '/livez'); \
sys.exit(page.getresponse().status != 200)"]
ENTRYPOINT ["/usr/bin/tini", "--", "alphadrop"]
CMD ["--help"]

FROM runtime AS watch
COPY --from=watch-packages /opt/alphadrop /opt/alphadrop
COPY --from=app /app /opt/alphadrop

FROM runtime AS cuda
COPY --from=cuda-packages /opt/alphadrop /opt/alphadrop
COPY --from=app /app /opt/alphadrop

FROM runtime AS cpu
COPY --from=cpu-packages /opt/alphadrop /opt/alphadrop
COPY --from=app /app /opt/alphadrop
