# siamplex with the real Caffe on an NVIDIA GPU: `make image`, then `make docker-train`.
#
# Caffe and siamplex stand in environments of their own, each made in a stage and copied as it is.  The last
# stage holds both, make and the Makefile, and nothing that made them.  CAFFE_ENV=environments/caffe-cpu.yml
# makes an image for machines without a GPU; --target tools has siamplex and the embedded engine alone.

ARG MICROMAMBA=mambaorg/micromamba:2.0.5-debian12-slim
ARG BASE=debian:12.11-slim

# --- the caffe binary
FROM ${MICROMAMBA} AS caffe
ARG CAFFE_ENV=environment.yml
COPY ${CAFFE_ENV} /tmp/caffe.yml
RUN micromamba create --yes --prefix /opt/conda/envs/caffe --file /tmp/caffe.yml \
    && micromamba clean --all --yes

# --- siamplex and its libraries
FROM ${MICROMAMBA} AS libraries
COPY environments/tools.yml /tmp/tools.yml
RUN micromamba create --yes --prefix /opt/conda/envs/siamplex --file /tmp/tools.yml \
    && micromamba clean --all --yes
# which build of torch, as pip finds it: it serves ENGINE=torch, with DEVICE=cuda where the build does
ARG TORCH=torch==2.13.0
WORKDIR /tmp/siamplex
COPY --chown=57439:57439 pyproject.toml README.md ./
COPY --chown=57439:57439 python ./python
RUN /opt/conda/envs/siamplex/bin/python -m pip install --no-cache-dir "${TORCH}" .

# --- the embedded engine alone
FROM ${BASE} AS tools
COPY --from=libraries /opt/conda/envs/siamplex /opt/conda/envs/siamplex
WORKDIR /siamplex
COPY Makefile pyproject.toml ./
COPY tools ./tools
# the environment counts as ready while it is newer than pyproject.toml; any uid may write a run
RUN touch /opt/conda/envs/siamplex/.ready \
    && mkdir -m 1777 /out
ENV VENV=/opt/conda/envs/siamplex \
    PATH=/opt/conda/envs/siamplex/bin:${PATH} \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    OUT=/out
VOLUME /out
USER 10001:10001
ENTRYPOINT ["make", "--no-print-directory"]
CMD ["help"]

# --- with caffe, for the NVIDIA runtime (docker run --gpus all)
FROM tools
COPY --from=caffe /opt/conda/envs/caffe /opt/conda/envs/caffe
ENV CAFFE_BIN=/opt/conda/envs/caffe/bin/caffe \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
