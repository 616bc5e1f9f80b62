# The service of a workspace that is mounted at /workspace:  docker build -t touchstone . && docker run -p 3000:3000 -v "$PWD:/workspace" touchstone
# Beyond loopback every request needs a token:               docker run -v "$PWD:/workspace" touchstone tokens create crm --scope score
FROM python:3.11-slim AS built
WORKDIR /app
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt README.md demonstration.py terminal.py touchstone.py ./
COPY attribution attribution
COPY commands commands
COPY connectors connectors
COPY features features
COPY serving serving
COPY simulation simulation
COPY training training
RUN pip install --no-cache-dir --constraint constraints.txt uv \
    && uv pip install --system --no-cache --compile-bytecode --constraint constraints.txt '.[team]'

FROM built
RUN useradd --create-home touchstone && mkdir /workspace && chown touchstone /workspace
USER touchstone
ENV TOUCHSTONE_WORKSPACE=/workspace
WORKDIR /workspace
EXPOSE 3000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/livez')"]
ENTRYPOINT ["touchstone"]
CMD ["serve", "--host", "0.0.0.0", "--port", "3000"]
