#!/usr/bin/env bash
# try.sh DEB: installs the package in a clean chroot of this Debian, runs it there as its user, and purges it. As root.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
deb=$(realpath "$1")
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
"$here/../base.sh" "$suite" "$root" adduser
chmod 755 "$root"
cp "$deb" "$root/chatsync.deb"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }

inside dpkg --install /chatsync.deb
inside chatsync --version
inside sh -c '. /etc/os-release; echo "$PRETTY_NAME"; test "$(stat -c "%a %U:%G" /etc/chatsync/chatsync.toml)" = "640 root:chatsync"'
inside chatsync config show >/dev/null 2>&1 && exit 1 # the example names ~/.my.cnf, which is not there
inside su -s /bin/sh chatsync -c 'cd ~ && chatsync demo demo-world >demo && tail -n 1 demo && cd demo-world && chatsync -q sync && chatsync check'
inside sh -c 'ls /usr/share/man/man1/chatsync-apply.1.gz /usr/share/bash-completion/completions/chatsync >/dev/null'
inside sh -c '! grep -rlE "/tmp/|pip\\.conf" /opt/chatsync/bin /opt/chatsync/pyvenv.cfg'
inside dpkg --purge chatsync
left=$(inside find / -xdev -name "*chatsync*" -not -name chatsync.deb -not -path "/proc/*" -not -path "/var/lib/dpkg/*")
[[ -z $left ]] || { echo "left behind: $left" >&2; exit 1; }
echo "installed, run and purged"
