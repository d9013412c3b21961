# One image for every process of the Procfile; the command says which.
FROM python:3.12-slim AS build
WORKDIR /app
COPY requirements/runtime.txt requirements/
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY adapters adapters
COPY config config
COPY domain domain
COPY tasks tasks
COPY worker worker
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --create-home --home-dir /var/lib/trimtab trimtab
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
USER trimtab
WORKDIR /var/lib/trimtab
CMD ["trimtab", "--help"]
