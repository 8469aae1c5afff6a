# The page and all it needs; docs/how-to/container.md says how it is run, and what holds in it.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS packages
WORKDIR /opt/spaces-runner
ENV UV_LINK_MODE=copy
COPY pyproject.toml requirements.txt ./
RUN pip install --no-cache-dir --root-user-action=ignore "$(grep '^uv==' requirements.txt)" \
    && uv venv --quiet --python "$(command -v python3)"
# For the chat models: cpu, or a name like cu130 that uv's --torch-backend knows; none leaves their engine out.
ARG TORCH=cpu
RUN if [ "$TORCH" = none ]; then set --; else set -- --extra core --torch-backend "$TORCH"; fi \
    && uv pip install --quiet --compile-bytecode --constraints requirements.txt \
        --requirements pyproject.toml --extra web "$@"
COPY README.md LICENSE ./
COPY spaces_runner spaces_runner
COPY app app
RUN uv pip install --quiet --no-deps --editable . && python3 -m compileall -q spaces_runner app

FROM ${BASE}
# More Debian packages, for what Spaces build or ask for in their packages.txt: --build-arg PACKAGES="build-essential"
ARG PACKAGES=""
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates catatonit git git-lfs libseccomp2 ${PACKAGES} \
    && rm -rf /var/lib/apt/lists/*
# Who runs it with `--user runner`; a new volume at this directory is theirs, then.
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /var/lib/spaces-runner runner \
    && install --directory --owner=runner --group=runner /var/lib/spaces-runner
WORKDIR /opt/spaces-runner
COPY --from=packages /opt/spaces-runner ./
COPY examples examples
COPY scripts/container scripts/container
ENV PATH=/opt/spaces-runner/.venv/bin:$PATH \
    SPACES_RUNNER_HOME=/var/lib/spaces-runner \
    HF_HOME=/var/lib/spaces-runner/huggingface
VOLUME /var/lib/spaces-runner
EXPOSE 7860
HEALTHCHECK --start-period=60s --timeout=5s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
# The first process of a container has to bury the others: shims go to the background.
ENTRYPOINT ["catatonit", "--", "scripts/container"]
