# The server with the mock, for people who write XenAPI clients:
#   docker build -t xapid . && docker run --name xapid -p 8443:8443 xapid
#   docker exec xapid cat /var/lib/xapid/root-password
# The release is pinned; its packages are meant to be its newest.
# hadolint global ignore=DL3008
FROM debian:13-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
 && python3 -m venv --without-pip /opt/xapid \
 && /opt/build/bin/pip --python /opt/xapid/bin/python install --no-cache-dir --require-hashes \
      -r requirements.lock
COPY . .
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheel . \
 && /opt/build/bin/pip --python /opt/xapid/bin/python install --no-cache-dir --no-deps /wheel/*.whl

FROM debian:13-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends e2fsprogs python3 qemu-utils \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /var/lib/xapid --create-home --skel /dev/null xapid
COPY --from=build /opt/xapid /opt/xapid
ENV PATH=/opt/xapid/bin:$PATH
USER 10001
VOLUME /var/lib/xapid
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 8443), 3)"]
ENTRYPOINT ["xapid", "--state-dir", "/var/lib/xapid", "--https", "0.0.0.0:8443", "--xen", "mock"]
