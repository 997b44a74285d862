#!/usr/bin/env bash
# image.sh BIN: builds the image `chatsync` with buildah and runs the demo in it. BIN is the folder of a Python with pip. BASE
# is the image to build on; without one, a minimal Debian is made with debootstrap (SUITE, bookworm), which needs no
# registry of images. As root.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
version=$(python3 -c 'import runpy; print(runpy.run_path("chatsync/__init__.py")["__version__"])')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ -z ${BASE:-} ]]; then
    BASE=localhost/chatsync-base:${SUITE:=bookworm}
    if ! buildah inspect "$BASE" >/dev/null 2>&1; then
        deploy/base.sh "$SUITE" "$work/base"
        container=$(buildah from scratch)
        buildah add --quiet "$container" "$work/base" / >/dev/null
        buildah commit --quiet --rm "$container" "$BASE" >/dev/null
    fi
fi

# The package index and the certificate authorities that pip uses on this machine: they are mounted while the image is
# built, and are not part of it. Other settings, and paths, are left out: a path of this machine does not exist in the image.
{
    echo '[global]'
    "$bin/python" -m pip config list |
        sed -nE "s/^(global|install|:env:)\.\.?(index-url|extra-index-url|trusted-host|proxy|timeout|default-timeout)='(.*)'$/\2 = \3/p" |
        sed -E 's/\\n/ /g; s# ?file:[^ ]+##g'
} >"$work/pip.conf"
volumes=(--volume "$work/pip.conf:/etc/pip.conf:ro")
authorities=/etc/ssl/certs/ca-certificates.crt
[[ ! -e $authorities ]] || volumes+=(--volume "$authorities:$authorities:ro")
buildah build --quiet --format docker --file deploy/Containerfile --build-arg BASE="$BASE" \
    --build-arg VERSION="$version" --tag chatsync "${volumes[@]}" . >"$work/id"

container=$(buildah from chatsync)
trap 'buildah rm "$container" >/dev/null; rm -rf "$work"' EXIT
in_image() { buildah run "$container" -- "$@"; }
[[ $(in_image chatsync --version) == "chatsync, version $version" ]]
[[ $(buildah inspect --type image --format '{{index .Docker.Config.Labels "org.opencontainers.image.version"}}' chatsync) == "$version" ]]
[[ $(in_image id -u) == 10001 ]]
in_image chatsync demo demo-world >"$work/demo"
tail -n 3 "$work/demo"
in_image sh -c 'cd demo-world && chatsync -q sync && chatsync check && chatsync report | grep -c "<h1>"'
in_image sh -c '! find / -xdev -name pip.conf -size +0 2>/dev/null | grep .'
buildah inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Healthcheck.Test}}' chatsync
