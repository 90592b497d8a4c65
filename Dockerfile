# Stage 1 installs the hash-locked packages and then Northing itself, without asking any registry
# for more than the lock names. Stage 2 takes the finished environment and nothing else.
#
# The base is the index of all platforms, by digest, so that a build of tomorrow starts from the same bytes.
# To renew it: docker buildx imagetools inspect python:3.11-slim-bookworm --format '{{.Manifest.Digest}}'
ARG PYTHON=python:3.11-slim-bookworm@sha256:0a310eeecf4e1f5a0743f9a6520c90c88d089c903ca5fd283f501e3a805f5f89

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build
RUN python -m venv /opt/northing
COPY requirements.lock ./
RUN /opt/northing/bin/pip install --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY connectors connectors
COPY mappings mappings
COPY migrations migrations
RUN /opt/northing/bin/python -m hatchling build -t wheel -d /build/dist \
 && /opt/northing/bin/pip install --no-deps --no-index /build/dist/*.whl

FROM ${PYTHON}
# A fixed number, so that a volume's owner stays the same from image to image. The embedded
# PostgreSQL needs a user with a name.
RUN groupadd --gid 10001 northing \
 && useradd --uid 10001 --gid northing --home-dir /var/lib/northing --no-create-home \
      --shell /usr/sbin/nologin northing \
 && install -d -o northing -g northing -m 0700 /var/lib/northing
COPY --from=build /opt/northing /opt/northing
# The public address is the port's on the machine; links must not name 0.0.0.0. Set your own.
ENV PATH=/opt/northing/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NORTHING_DATA_DIR=/var/lib/northing \
    NORTHING_HOST=0.0.0.0 \
    NORTHING_PORT=8000 \
    NORTHING_PUBLIC_URL=http://localhost:8000 \
    NORTHING_LOG_FORMAT=json
USER northing
WORKDIR /var/lib/northing
VOLUME /var/lib/northing
EXPOSE 8000
# Whether the process lives. Whether it can work is /readyz; a database that is away is no reason
# to restart this container.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['NORTHING_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["northing"]
CMD ["serve"]
