#!/usr/bin/env bash
# base.sh SUITE FOLDER [PACKAGE…]: makes a minimal Debian in FOLDER with debootstrap, from the mirror that this machine's
# apt uses. apt installs the packages: the debootstrap of Debian 12 cannot install the systemd of Debian 13.
set -euo pipefail
suite=$1 folder=$2
shift 2
mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" && !/security/ { print $2; exit }')
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$folder" "${mirror:-https://deb.debian.org/debian}" >&2
if [[ $# -gt 0 ]]; then
    inside() { chroot "$folder" env --unset TMPDIR PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@" >&2; }
    inside apt-get --quiet update
    inside apt-get --quiet --yes install --no-install-recommends "$@"
fi
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* "$folder"/etc/apt/sources.list
