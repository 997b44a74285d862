#!/usr/bin/env bash
# lock.sh BIN: resolves the dependencies of pyproject.toml anew, with the uv in BIN. The files name versions and hashes,
# and no index: pip takes the one it is set up for.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
    "$1/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --custom-compile-command "make lock" "${@:2}"
}
build_requires='import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'
"$1/python" -c "$build_requires" | compile "$1" --output-file requirements/build.txt -
compile "$1" --output-file requirements/run.txt pyproject.toml
compile "$1" --output-file requirements/dev.txt --extra dev --constraint requirements/run.txt \
    --constraint requirements/build.txt pyproject.toml
compile "$1" --output-file requirements/cluster.txt --extra dev --extra cluster --constraint requirements/dev.txt \
    pyproject.toml
