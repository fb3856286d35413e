# The server with the mock, for people who write XenAPI clients.
FROM debian:12-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-dev python3-venv gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/xapid \
 && /opt/xapid/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/xapid/bin/pip install --no-cache-dir --no-deps .

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/xapid /opt/xapid
VOLUME /var/lib/xapid
EXPOSE 8443
ENTRYPOINT ["/opt/xapid/bin/xapid", "--state-dir", "/var/lib/xapid", "--https", "0.0.0.0:8443", "--xen", "mock"]
