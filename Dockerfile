# One image for every process of the Procfile; the command says which.
#
# The Python and Debian that the test suite runs on. Pinned by its full tag; whoever builds for production pins what
# the tag names at their registry on that day (`docker buildx imagetools inspect`, then --build-arg BASE=...@sha256:...).
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
WORKDIR /app
COPY requirements/runtime.txt requirements/
RUN python -m venv --without-pip /venv \
 && python -m pip --python /venv install --no-cache-dir --disable-pip-version-check \
      --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY adapters adapters
COPY config config
COPY domain domain
COPY tasks tasks
COPY worker worker
# What only builds goes again; what is left must fit together. Then 200 of 600 MB go that nothing here asks for: the
# libraries' own tests, and the other solvers that come with CVXPY. HiGHS must still solve.
RUN python -m pip --python /venv install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
 && python -m pip --python /venv uninstall --yes editables hatchling pathspec pluggy trove-classifiers \
 && python -m pip --python /venv check \
 && python -m pip --python /venv uninstall --yes clarabel osqp scs \
 && find /venv -type d -name tests -prune -exec rm -rf {} + \
 && /venv/bin/python -c "from adapters.inbound.tiny_problem import solve_tiny; from adapters.solver.cvxpy_solver import CvxpySolver; print(solve_tiny(CvxpySolver()))"

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Trimtab" \
      org.opencontainers.image.description="Turns rebalance requests into executable, proved order sets." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, so that Kubernetes can see that it is not root; no shell, no way to install anything.
RUN groupadd --gid 10001 trimtab \
 && useradd --uid 10001 --gid 10001 --create-home --home-dir /var/lib/trimtab --shell /usr/sbin/nologin trimtab \
 && python -m pip uninstall --yes --disable-pip-version-check --root-user-action=ignore pip setuptools wheel
COPY --from=build /venv /venv
# The byte code was made when the image was built; at run time nothing is written but to the two folders named here.
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    TRIMTAB_ALIVE_FILE=/tmp/trimtab.alive
USER 10001:10001
WORKDIR /var/lib/trimtab
# The process touches its file as long as its loop turns (docs/operations.md). Flower has a page for this instead.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["sh", "-c", "test -n \"$(find \"$TRIMTAB_ALIVE_FILE\" -mmin -1)\""]
CMD ["trimtab", "--help"]
