# Two images: the sidecar (the last stage, what a plain build makes) and, as --target demo, the demo's job and stand-ins.
# Both are a virtual environment on a bare Python: what builds them stays behind in the stages before.
# BASE may be pinned to a digest: --build-arg BASE=docker.io/library/python@sha256:...
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS wheels
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/requirements/build.txt /build/
RUN python -m venv /build/venv \
    && /build/venv/bin/pip install -qq --require-hashes -r /build/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY proxy proxy
COPY clients clients
RUN /build/venv/bin/pip wheel -qq --no-deps --no-build-isolation -w /wheels . ./clients

# Wheels only: nothing here needs a compiler, and a lock that would need one fails the build.
FROM ${BASE} AS proxy-environment
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/requirements/runtime.txt /build/
RUN python -m venv --without-pip /opt/blueprint-proxy \
    && pip --python /opt/blueprint-proxy/bin/python install -qq --only-binary :all: --require-hashes -r /build/runtime.txt
COPY --from=wheels /wheels /wheels
RUN pip --python /opt/blueprint-proxy/bin/python install -qq --no-deps --no-index /wheels/blueprint_proxy-*.whl

FROM ${BASE} AS demo-environment
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/requirements/demo.txt /build/
RUN python -m venv --without-pip /opt/blueprint-demo \
    && pip --python /opt/blueprint-demo/bin/python install -qq --only-binary :all: --require-hashes -r /build/demo.txt
COPY --from=wheels /wheels /wheels
RUN pip --python /opt/blueprint-demo/bin/python install -qq --no-deps --no-index /wheels/*.whl

# The demo's job: Google's SDKs and the job-side library. The stand-ins for the upstreams are in it too.
FROM ${BASE} AS demo
ARG REVISION=unknown
LABEL org.opencontainers.image.title="blueprint-proxy-demo" \
      org.opencontainers.image.description="The demo's scene job and the stand-ins for its upstreams" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=demo-environment /opt/blueprint-demo /opt/blueprint-demo
ENV PATH=/opt/blueprint-demo/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
CMD ["python", "-m", "blueprint_proxy.demo.job", "/tmp"]

FROM ${BASE} AS proxy
ARG REVISION=unknown
LABEL org.opencontainers.image.title="blueprint-proxy" \
      org.opencontainers.image.description="The reliability sidecar of robot-simulation jobs" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The built-in state_dir is in the user's home. The link leads it to the volume, whatever configuration is mounted.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/blueprint-proxy \
    && install -d /home/blueprint-proxy/.local/state \
    && ln -s /var/lib/blueprint-proxy /home/blueprint-proxy/.local/state/blueprint-proxy
COPY deploy/examples/container.yaml /etc/blueprint-proxy/config.yaml
COPY --from=proxy-environment /opt/blueprint-proxy /opt/blueprint-proxy
ENV PATH=/opt/blueprint-proxy/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/blueprint-proxy \
    BLUEPRINT_PROXY_CONFIG=/etc/blueprint-proxy/config.yaml \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that an orchestrator can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/blueprint-proxy
# The process itself is number 1 and ends by itself on SIGTERM: give it longer than drain.grace (docker stop -t).
STOPSIGNAL SIGTERM
# Without the site module and without urllib, which would ask HTTP_PROXY. Where listen.admin is elsewhere, say so to the
# engine (--health-cmd), or give --no-healthcheck.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-ISc", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8901, timeout=2); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["blueprint-proxy"]
CMD ["serve"]
