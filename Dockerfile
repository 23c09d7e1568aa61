# API Host in a container: on a CPU (the default), or on NVIDIA GPUs with --build-arg ACCELERATOR=cuda.
# docs/containers.md says how to run it.

ARG ACCELERATOR=cpu
ARG UBUNTU=24.04
ARG CUDA=12.8.1

# GGML_NATIVE=OFF: the image runs on other machines than the one that built it (x86-64: from AVX2 on).
FROM ubuntu:${UBUNTU} AS build-cpu
ENV CMAKE_ARGS="-DGGML_NATIVE=OFF"

# The driver's library is the machine's own and not there yet when llama.cpp is linked.
FROM nvidia/cuda:${CUDA}-devel-ubuntu${UBUNTU} AS build-cuda
ENV CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_CUDA=ON -DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined"

FROM ubuntu:${UBUNTU} AS runtime-cpu
FROM nvidia/cuda:${CUDA}-runtime-ubuntu${UBUNTU} AS runtime-cuda


# hadolint ignore=DL3006
FROM build-${ACCELERATOR} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/api-host
WORKDIR /src
# llama.cpp first, in a layer of its own: its wheel takes minutes to build, with CUDA tens of minutes.
# CUDA_ARCHITECTURES (such as 75;86) narrows the GPUs that it is built for; empty is all that llama.cpp supports.
ARG CUDA_ARCHITECTURES=""
COPY pyproject.toml ./
RUN export CMAKE_ARGS="$CMAKE_ARGS ${CUDA_ARCHITECTURES:+-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES}" \
    && /opt/api-host/bin/pip install --no-cache-dir "$(grep -o 'llama-cpp-python[^"]*' pyproject.toml)"
COPY README.md LICENSE ./
COPY client ./client
COPY api_host ./api_host
RUN /opt/api-host/bin/pip install --no-cache-dir ./client ".[redis]"


# hadolint ignore=DL3006
FROM runtime-${ACCELERATOR}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home api-host \
    && install -d -o api-host -g api-host /models
COPY --from=build /opt/api-host /opt/api-host

# Every setting of the host is a variable API_HOST_*. The tunnel is off: API_HOST_TUNNEL=true turns it on.
ENV PATH="/opt/api-host/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    API_HOST_ADDRESS=0.0.0.0 \
    API_HOST_PORT=5000 \
    API_HOST_TUNNEL=false \
    API_HOST_MODELS_DIR=/models
USER 10001:10001
WORKDIR /home/api-host
VOLUME /models
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['API_HOST_PORT'] + '/health', timeout=4)"]
ENTRYPOINT ["api-host"]
CMD ["serve"]
