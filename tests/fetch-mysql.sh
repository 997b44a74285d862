#!/usr/bin/env bash
# Fetches Debian unstable's MySQL server, with the libraries it needs, into a cache folder, and prints the path of its
# mysqld. Nothing is installed, and root isn't needed: apt works in that folder, from the mirror this machine uses.
# To have a newer one, remove the folder.
set -euo pipefail

home=${XDG_CACHE_HOME:-$HOME/.cache}/chatsync/mysql
if [[ -x $home/mysqld ]]; then
    echo "$home/mysqld"
    exit
fi

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-unstable}")
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Release: $release" 'Component: main' 'Created-By: Packages' | head -n 1)
if [[ -z $mirror ]]; then
    echo "$0: apt has no source of Debian $release here to take the mirror from; set CHATSYNC_TEST_MYSQLD to a mysqld" >&2
    exit 1
fi

mkdir -p "$(dirname "$home")"
work=$(mktemp -d "$home.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial,empty} "$work/root"
touch "$work/apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror unstable main" >"$work/apt/sources.list"
cat >"$work/apt/apt.conf" <<END
Dir::State "$work/apt/state";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "$work/apt/empty";
Dir::Etc::preferencesparts "$work/apt/empty";
APT::Install-Recommends "false";
APT::Sandbox::User "";
END
{
    APT_CONFIG=$work/apt/apt.conf apt-get --quiet update
    APT_CONFIG=$work/apt/apt.conf apt-get --quiet --yes --download-only install mysql-server-core
    for package in "$work"/apt/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$work/root"
    done
} >&2
rm -rf "$work/apt"

# Its own loader and C library, as those of this machine may be too old.
cat >"$work/mysqld" <<'END'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
set -- "$@" --lc-messages-dir="$root/usr/share/mysql" --character-sets-dir="$root/usr/share/mysql/charsets" \
    --plugin-dir="$root/usr/lib/mysql/plugin" --secure-file-priv=
for libraries in "$root"/usr/lib/*-linux-gnu; do
    for loader in "$libraries"/ld-linux-*.so.*; do
        exec "$loader" --library-path "$libraries" "$root/usr/sbin/mysqld" "$@"
    done
done
END
chmod +x "$work/mysqld"
"$work/mysqld" --no-defaults --version >&2
rm -rf "$home"
mv "$work" "$home"
echo "$home/mysqld"
