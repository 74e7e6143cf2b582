# syntax=docker/dockerfile:1
# docker build -t matrix-communities . ; then see contrib/ and docs/ for how it is run.

FROM python:3.12-slim AS build
# python-olm comes as source.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential cmake \
    && rm -rf /var/lib/apt/lists/*
ENV CMAKE_POLICY_VERSION_MINIMUM=3.5 CXXFLAGS=-Wno-template-body
RUN python -m venv /opt/matrix-communities
WORKDIR /src
COPY pyproject.toml LICENSE ./
COPY bridge ./bridge
RUN /opt/matrix-communities/bin/pip install --no-cache-dir .

FROM python:3.12-slim
# The C++ library that libolm is linked against.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin communities \
    && install -d -o communities -g communities -m 0700 /data
COPY --from=build /opt/matrix-communities /opt/matrix-communities
ENV PATH=/opt/matrix-communities/bin:$PATH PYTHONUNBUFFERED=1
USER communities
WORKDIR /data
# config.yaml, the keys and (with SQLite) the database are kept here. In config.yaml listen on 0.0.0.0.
VOLUME /data
ENTRYPOINT ["matrix-communities"]
CMD ["run", "--config", "/data/config.yaml"]
