# The command line in a container: slim Python, the pinned packages, a user without privileges.
#
# Parsed only: no container was started. A virtual environment ran the same installation and the same command.
#
#   docker build --tag supermetrics-connectors .
#   docker run --rm --env-file supermetrics.env --volume supermetrics:/data supermetrics-connectors
#   docker run --rm --env-file supermetrics.env supermetrics-connectors load --destination postgres --include-configs
#
# supermetrics.env has lines such as SUPERMETRICS_API_KEY=api_... and SOURCES__SUPERMETRICS__TEAM_IDS=936506,941277. The
# image holds no key. A DuckDB file is written to /data; warehouses need no volume.
FROM python:3.12-slim

# Extras of pyproject.toml, separated by commas: the destinations that the image can load into.
ARG EXTRAS=postgres

WORKDIR /app
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY sources sources
COPY pipelines pipelines
RUN pip install --no-cache-dir --upgrade --constraint constraints.txt pip \
    && pip install --no-cache-dir --constraint constraints.txt --build-constraint constraints.txt ".[$EXTRAS]" \
    && useradd --system --uid 10001 --no-create-home loader \
    && install --directory --owner loader /data

USER 10001
WORKDIR /data
ENV DLT_DATA_DIR=/data/dlt \
    RUNTIME__DLTHUB_TELEMETRY=false
VOLUME /data
ENTRYPOINT ["supermetrics-connectors"]
CMD ["load", "--include-configs", "--include-teams", "--keep-going", "--json"]
