#!/usr/bin/env bash
# venv.sh TOOLS PYTHON FOLDER: makes a virtual environment of PYTHON in FOLDER with chatsync, its locked dependencies and
# nothing else. TOOLS is a Python with pip and the packages of requirements/build.txt. The Debian package and the image
# contain this environment; each of them compiles it for the folder where it will be installed.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
tools=$1 folder=$3
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
pip() { "$tools" -m pip --quiet --no-cache-dir "$@"; }

pip wheel --no-deps --no-build-isolation --wheel-dir "$wheels" .
"$2" -m venv --without-pip "$folder"
pip --python "$folder/bin/python" install --no-compile --require-hashes --requirement requirements/run.txt
pip --python "$folder/bin/python" install --no-compile --no-deps --no-index "$wheels"/*.whl
