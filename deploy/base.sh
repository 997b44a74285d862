#!/usr/bin/env bash
# base.sh SUITE FOLDER [PACKAGE…]: makes a minimal Debian in FOLDER with debootstrap, from the mirror that this machine's
# apt uses.
set -euo pipefail
suite=$1 folder=$2
shift 2
mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" && !/security/ { print $2; exit }')
include=$(IFS=,; echo "python3,python3-venv,ca-certificates${*:+,$*}")
debootstrap --variant=minbase --include="$include" "$suite" "$folder" "${mirror:-https://deb.debian.org/debian}" >&2
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* "$folder"/etc/apt/sources.list
