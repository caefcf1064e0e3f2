FROM python:3.12-slim

# Where pip finds torch. This index has torch for the CPU. Empty means PyPI, whose torch is for CUDA.
# That one is several GB larger, and its Triton needs a C compiler.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libmpg123-0 $(test -n "$TORCH_INDEX" || echo gcc libc6-dev) \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home genremill && install --directory --owner genremill --group genremill /data
WORKDIR /app

COPY requirements.lock ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --requirement requirements.lock

COPY pyproject.toml README.md LICENSE settings.py ./
COPY db db
COPY genremill genremill
COPY producer producer
COPY worker worker
RUN pip install --no-cache-dir --no-deps .

USER genremill
ENV GENREMILL_DATA_DIR=/data PYTHONUNBUFFERED=1
CMD ["genremill", "--help"]
