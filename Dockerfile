# Two stages: the first makes a virtual environment with what serving needs and
# nothing else (no torch, no compiler), the second carries it.
#
#   docker build -t nextvec .
#   docker build -t nextvec:gpu --build-arg RUNTIME_EXTRAS=cuda,cudnn .
#
# docs/how-to/operate.md says how to run it.
FROM python:3.11-slim AS builder

# ONNX Runtime's GPU wheel also runs on the CPU. On a GPU it needs CUDA 13 and
# cuDNN 9: either the host image has them, or "cuda,cudnn" brings them as
# packages (about 2 GB installed).
ARG RUNTIME_EXTRAS=""

# No pip inside the environment: none is shipped in it.
RUN python -m venv --without-pip /opt/nextvec
WORKDIR /src

# Dependencies first: they change less often than the code does.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && if [ -n "$RUNTIME_EXTRAS" ]; then echo "onnxruntime-gpu[$RUNTIME_EXTRAS]" >> requirements.txt; fi \
    && pip --python /opt/nextvec/bin/python install --no-cache-dir -c constraints.txt -r requirements.txt

COPY README.md LICENSE ./
COPY service/ service/
RUN pip --python /opt/nextvec/bin/python install --no-cache-dir --no-deps .


FROM python:3.11-slim

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
