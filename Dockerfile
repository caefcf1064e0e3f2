FROM python:3.12-slim

RUN useradd --create-home genremill && install --directory --owner genremill /data
WORKDIR /app

COPY requirements.lock ./
RUN pip install --no-cache-dir --requirement requirements.lock

COPY pyproject.toml README.md LICENSE cli.py console.py doctor.py local.py sample.py settings.py ./
COPY db db
COPY producer producer
COPY worker worker
RUN pip install --no-cache-dir --no-deps .

USER genremill
ENV GENREMILL_DATA_DIR=/data PYTHONUNBUFFERED=1
VOLUME /data
CMD ["genremill", "--help"]
