#!/usr/bin/env bash
# try.sh DEB: installs the package in a clean chroot of this Debian (or of SUITE), runs it there as its user, checks its
# other files with the programs that read them (logrotate, systemd, man, the shells), and purges it. As root.
set -euo pipefail
trap 'echo "try.sh: line $LINENO failed" >&2' ERR
here=$(dirname "$(realpath "$0")")
deb=$(realpath "$1")
suite=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
"$here/../base.sh" "$suite" "$root" adduser bash-completion fish logrotate man-db systemd zsh
chmod 755 "$root"
cp "$deb" "$root/chatsync.deb"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }

inside dpkg --install /chatsync.deb
inside chatsync --version
inside sh -c '. /etc/os-release; echo "$PRETTY_NAME"; echo "# kept" >>/etc/chatsync/chatsync.toml'
inside dpkg --install /chatsync.deb # once more, as an upgrade does
inside sh -c 'grep -q "# kept" /etc/chatsync/chatsync.toml && test "$(stat -c "%a %U:%G" /etc/chatsync/chatsync.toml)" = "640 root:chatsync"'
inside chatsync config show >/dev/null 2>&1 && exit 1 # the example names ~/.my.cnf, which does not exist
inside su -s /bin/sh chatsync -c 'cd ~ && chatsync demo demo-world >demo && tail -n 1 demo && cd demo-world && chatsync -q sync && chatsync check && chatsync report | grep -c "<h1>"'
inside su -s /bin/sh chatsync -c '! [ -w /opt/chatsync/bin/chatsync ] && ! [ -w /etc/chatsync/chatsync.toml ]'
inside sh -c '! grep -rlE "/tmp/|pip\.conf" /opt/chatsync/bin /opt/chatsync/pyvenv.cfg'

inside logrotate --debug /etc/logrotate.d/chatsync >"$root/rotated" 2>&1
grep -q "rotating pattern: /var/log/chatsync" "$root/rotated"
if grep -i error "$root/rotated"; then exit 1; fi
inside sh -c 'systemd-analyze verify --man=no /usr/lib/systemd/system/chatsync*.service /usr/lib/systemd/system/chatsync*.timer'
for page in chatsync chatsync-apply chatsync-set-modtime chatsync-config-show; do
    inside env MANPAGER=cat man "$page" | grep "^SYNOPSIS" >/dev/null
done
inside bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader chatsync
    COMP_WORDS=(chatsync set) COMP_CWORD=1; _chatsync_completion chatsync; test "${COMPREPLY[0]}" = set-modtime'
inside zsh -f -c 'autoload -U compinit && compinit -u -D && test "$_comps[chatsync]" = _chatsync'
inside fish -c 'complete -C "chatsync set"' | grep set-modtime >/dev/null

inside dpkg --purge chatsync
left=$(inside find / -xdev -name "*chatsync*" -not -name chatsync.deb -not -path "/proc/*" -not -path "/var/cache/man/*" -not -path "/var/lib/dpkg/*")
[[ -z $left ]] || { echo "left behind: $left" >&2; exit 1; }
echo "installed, run and purged"
