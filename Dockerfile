# Two stages: the first makes a virtual environment with what serving needs and
# nothing else (no torch, no compiler), the second carries it.
#
#   docker build -t nextvec .
#   docker build -t nextvec:gpu --build-arg RUNTIME_EXTRAS=cuda .
#
# docs/how-to/operate.md says how to run it, docs/how-to/release.md how to build a release.
#
# A tag can move. A release is built with BASE=python:3.11-slim@sha256:…, as `make image` demands.
# checkov:skip=CKV_DOCKER_7:checkov does not see the tag, or the digest, in BASE
ARG BASE=python:3.11-slim
FROM ${BASE} AS builder

# ONNX Runtime's GPU wheel also runs on the CPU. On a GPU it needs CUDA 13 and
# cuDNN 9: either the host image has them, or "cuda" brings them as packages
# (about 2 GB installed), with what the GRU kernels need.
ARG RUNTIME_EXTRAS=""

WORKDIR /src

# Dependencies first: they change less often than the code does. Each is checked
# against its hash. No pip inside the environment: none is shipped in it.
COPY requirements/*.lock requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/build.lock \
    && python -m venv --without-pip /opt/nextvec \
    && pip --python /opt/nextvec/bin/python install --no-cache-dir --require-hashes \
        -r "requirements/image${RUNTIME_EXTRAS:+-$RUNTIME_EXTRAS}.lock"

COPY pyproject.toml README.md LICENSE ./
COPY service/ service/
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/nextvec/bin/python install --no-cache-dir --no-deps /dist/*.whl


FROM ${BASE}

ARG BASE
LABEL org.opencontainers.image.title=nextvec \
    org.opencontainers.image.licenses=Apache-2.0 \
    org.opencontainers.image.base.name=${BASE}

COPY --from=builder /opt/nextvec /opt/nextvec

# CUDA's libraries, where the packages brought them, are found without the
# engine having to know about it; without them the list is empty.
RUN find /opt/nextvec/lib -type d -path '*/nvidia/*/lib' > /etc/ld.so.conf.d/nextvec.conf && ldconfig

# /state belongs to the service's user here, so that a new named volume mounted
# on it does too.
RUN install -d -o 10001 -g 10001 /state && install -d /models

ENV PATH=/opt/nextvec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    NEXTVEC_HOST=0.0.0.0 \
    NEXTVEC_PORT=8080 \
    NEXTVEC_MODELS=/models \
    NEXTVEC_ROLLOUT__DATABASE=/state/nextvec.db

USER 10001:10001
WORKDIR /state
VOLUME ["/state"]
EXPOSE 8080
# The service drains on SIGTERM: no new requests, those taken are answered.
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['NEXTVEC_PORT']}/v2/health/live\", timeout=2).read()"]

ENTRYPOINT ["nextvec"]
CMD ["serve"]
