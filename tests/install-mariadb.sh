#!/usr/bin/env bash
# Installs what the tests need beside Python and isn't here yet: a MariaDB server, HAProxy, promtool, curl and chromium, and
# with the argument `galera` also that library. The services that come with them don't matter: the tests start servers of
# their own.
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/local/sbin:/usr/libexec

found() { [[ -n $(type -P "$@") ]]; }

missing=()
[[ -n ${CHATSYNC_TEST_MYSQLD:-} ]] || found mariadbd mysqld || missing+=(mariadb-server)
found haproxy || missing+=(haproxy) # tests/servers/test_proxies.py
found promtool || missing+=(prometheus)
found curl || missing+=(curl) # crontab.example
found chromium || missing+=(chromium) # tests/job/test_report_browser.py
# tests/tools/test_deploy.py
found systemd-analyze || missing+=(systemd)
found logrotate || missing+=(logrotate)
found zsh || missing+=(zsh)
found fish || missing+=(fish)
[[ ${1:-} != galera || -e /usr/lib/galera/libgalera_smm.so ]] || missing+=(galera-4)
[[ ${1:-} != galera ]] || found rsync || missing+=(rsync)
[[ ${#missing[@]} -gt 0 ]] || exit 0

if ! found apt-get; then
    echo "$0: no apt-get here; please install a MariaDB server, HAProxy, promtool, curl and chromium (Debian: ${missing[*]})" >&2
    exit 1
fi
root=(env)
if [[ $(id -u) -ne 0 ]]; then
    if ! found sudo; then
        echo "$0: these packages are missing, and there is neither root nor sudo here. Have an administrator run: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
"${root[@]}" apt-get --quiet update
"${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes install --no-install-recommends "${missing[@]}"
