# Build: the wheel of this folder and what it needs, into a venv that is copied as it is.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md providers.yaml ./
COPY proxy ./proxy
RUN python3 -m venv /opt/dragoman && /opt/dragoman/bin/pip install --no-cache-dir '.[audio,convert,postgres,redis,vertex]'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/dragoman --create-home dragoman \
  && install -d -o dragoman -g dragoman -m 0700 /var/lib/dragoman/state
COPY --from=build /opt/dragoman /opt/dragoman
COPY providers.yaml /etc/dragoman/providers.yaml
# By number: Kubernetes knows by it that this is not root (runAsNonRoot).
USER 10001
WORKDIR /var/lib/dragoman
ENV PATH=/opt/dragoman/bin:$PATH DRAGOMAN_CONFIG=/etc/dragoman/providers.yaml DRAGOMAN_HOST=0.0.0.0 PYTHONUNBUFFERED=1
# Keys, the ledger, tasks and pictures that are delivered by link; ./state of the shipped file.
VOLUME /var/lib/dragoman/state
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["dragoman"]
CMD ["serve"]
