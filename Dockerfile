# The GPU host that searches, trains and exports:
#   docker build -t edgenas .                                  (with CUDA: about 6 GB)
#   docker build --build-arg FLAVOUR=cpu --build-arg PIP_OPTIONS="..." -t edgenas:cpu .
#     with the option of pip that pytorch.org shows for Linux, pip, CPU as an extra index: PyTorch without CUDA
#   docker run --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/work" edgenas search ...
# Without --user it is uid 10001, which may not write into your folder. Data sets are looked for in ./data.
# Devices get deploy/Dockerfile, which has no torch in it.
ARG BASE_IMAGE=python:3.12-slim-bookworm
FROM ${BASE_IMAGE}
ARG PIP_OPTIONS=""
ARG FLAVOUR=cuda
ARG EXTRAS="[${FLAVOUR},baselines,ray,serve,faces,report]"

COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md /src/
COPY edgenas /src/edgenas
COPY profiles /src/profiles
COPY deploy/matrix.toml /src/deploy/
RUN --mount=type=bind,source=deploy/wheels,target=/wheels \
    python3 -m venv /opt/edgenas && \
    /opt/edgenas/bin/pip install --no-cache-dir --find-links /wheels ${PIP_OPTIONS} -c /src/constraints.txt "/src${EXTRAS}" && \
    rm -rf /src

# A user of any number has no home here: HOME is where everybody may write.
ENV PATH=/opt/edgenas/bin:${PATH} PYTHONUNBUFFERED=1 HOME=/tmp EDGENAS_DATA=/work/data ORT_DISABLE_TELEMETRY=1
RUN mkdir /work && chown 10001:10001 /work
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["edgenas"]
CMD ["--help"]
