#!/usr/bin/env bash
# build.sh BIN: builds dist/chatsync_VERSION_ARCH.deb: chatsync and its locked dependencies in a virtual environment under
# /opt/chatsync, for the Debian release that it is built on; then unpacks it and runs the program in it. BIN is the folder
# with the tools of requirements/dev.txt and build.txt.
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."
python=/usr/bin/python3
bin=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
package=$root/package opt=$root/package/opt/chatsync
version=$("$python" -c 'import runpy; print(runpy.run_path("chatsync/__init__.py")["__version__"])')
minor=$("$python" -c 'import sys; print(sys.version_info[1])')
architecture=$(dpkg --print-architecture)

install -d "$package/opt"
deploy/venv.sh "$bin/python" "$python" "$opt"
rm -f "$opt"/bin/[Aa]ctivate* "$opt"/bin/python3.*
grep --null -rlI "$package" "$opt" | xargs --null --no-run-if-empty sed -i "s#$package##g"
"$opt/bin/python" -m compileall -q --invalidation-mode unchecked-hash -s "$package" "$opt/lib"

install -d "$package"/usr/{bin,share/man/man1,share/doc/chatsync/examples,share/bash-completion/completions}
install -d "$package"/usr/share/{zsh/vendor-completions,fish/vendor_completions.d} "$package"/{usr/lib/systemd/system,etc/chatsync}
ln -s /opt/chatsync/bin/chatsync "$package/usr/bin/chatsync"
install -m 644 chatsync.example.toml "$package/etc/chatsync/chatsync.toml"
install -D -m 644 deploy/logrotate "$package/etc/logrotate.d/chatsync"
install -m 644 deploy/systemd/* "$package/usr/lib/systemd/system"
install -m 644 README.md CHANGELOG.md docs/*.md "$package/usr/share/doc/chatsync"
install -m 644 crontab.example "$package/usr/share/doc/chatsync/examples"
{ cat deploy/debian/copyright; sed 's/^/ /; s/^ $/ ./' LICENSE; } >"$package/usr/share/doc/chatsync/copyright"
"$bin/python" deploy/man_pages.py "$package/usr/share/man/man1"
gzip -9n "$package"/usr/share/man/man1/*
complete() { _CHATSYNC_COMPLETE="$1_source" "$bin/chatsync"; }
complete bash >"$package/usr/share/bash-completion/completions/chatsync"
complete zsh >"$package/usr/share/zsh/vendor-completions/_chatsync"
complete fish >"$package/usr/share/fish/vendor_completions.d/chatsync.fish"

install -d "$package/DEBIAN"
sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@MINOR@/$minor/g; s/@NEXT@/$((minor + 1))/g; s/@SIZE@/$(du -sk "$package" | cut -f1)/" \
    deploy/debian/control >"$package/DEBIAN/control"
install -m 755 deploy/debian/{postinst,prerm,postrm} "$package/DEBIAN"
(cd "$package" && find etc -type f -printf '/%p\n') >"$package/DEBIAN/conffiles"
(cd "$package" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | xargs --null md5sum) >"$package/DEBIAN/md5sums"
deb=$root/chatsync_${version}_${architecture}.deb
dpkg-deb -Zzstd --root-owner-group --build "$package" "$deb"

# The package is unpacked and its program is run, without installing it; try.sh tests the installation.
rm -rf "$package"
dpkg-deb --extract "$deb" "$root/unpacked"
dpkg-deb --control "$deb" "$root/control"
here=$PWD
cd "$root/unpacked"
md5sum --check --quiet "$root/control/md5sums"
sed 's#^/##' "$root/control/conffiles" | xargs ls >/dev/null
if grep -rlaF "$root" . >"$root/found"; then
    echo "build.sh: $(wc -l <"$root/found") files name the folder in which they were built: $(head -n 3 "$root/found" | xargs)" >&2
    exit 1
fi
run() { opt/chatsync/bin/python opt/chatsync/bin/chatsync "$@"; }
[[ $(run --version) == "chatsync, version $version" ]]
run demo "$root/demo" >/dev/null
run --config "$root/demo/chatsync.toml" check
install -D -m 644 -t "$here/dist" "$deb"
